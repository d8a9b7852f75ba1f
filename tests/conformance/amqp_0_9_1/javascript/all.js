// All cases in one process, one after the other: `node all.js`.

import "./declare.test.js";
import "./messages.test.js";
import "./stock_lines.test.js";
