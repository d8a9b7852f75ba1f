//! JSON objects as a table with aligned columns.

use serde_json::Value;

/// A line of column names, then one line a row; the columns are dotted paths into the rows. What is absent,
/// null or empty is `-`, so that every line has as many fields as there are columns.
pub fn render(columns: &[&str], rows: &[Value]) -> String {
    let head: Vec<String> = columns.iter().map(|column| column.to_uppercase()).collect();
    let cells = rows.iter().map(|row| columns.iter().map(|column| cell(row, column)).collect());
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(cells).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let padded = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        text += padded.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

fn cell(row: &Value, column: &str) -> String {
    let value = column.split('.').fold(row, |value, member| &value[member]);
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(members) if members.is_empty() => String::new(),
        other => other.to_string(),
    };
    // A name with a line break in it must not look like two rows.
    if text.is_empty() { "-".to_owned() } else { text.replace(char::is_control, "?") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_aligned_and_every_field_has_something() {
        let rows = [
            json!({ "name": "näme", "queue": { "vhost": "/" }, "count": 12, "arguments": {} }),
            json!({ "name": "", "count": null, "arguments": { "x": 1 } }),
        ];
        let expect = "NAME  QUEUE.VHOST  COUNT  ARGUMENTS\n\
                      näme  /            12     -\n\
                      -     -            -      {\"x\":1}\n";
        assert_eq!(render(&["name", "queue.vhost", "count", "arguments"], &rows), expect);
    }

    #[test]
    fn a_name_cannot_forge_a_row() {
        assert_eq!(render(&["name"], &[json!({ "name": "a\nb" })]), "NAME\na?b\n");
    }
}
