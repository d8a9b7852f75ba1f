"""What all walkthroughs send: five lines of stock prices, and a control message behind them."""

LINES = ["1 GOOG 616.47", "2 RHT 42.46", "3 VMW 78.25", "4 CSCO 23.29", "5 IBM 141.43"]
END = "END"
