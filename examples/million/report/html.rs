/// Makes text from a log harmless in HTML, in elements and in attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A table whose first row are the headings of the columns and whose first
/// column are those of the rows. The cells are HTML already.
pub(super) fn table(caption: &str, rows: &[Vec<String>]) -> String {
    let mut html = format!(
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{caption}\">\
         <table><caption>{caption}</caption>\n"
    );
    for (at, row) in rows.iter().enumerate() {
        html.push_str(match at {
            0 => "<thead><tr>",
            _ => "<tr>",
        });
        for (column, cell) in row.iter().enumerate() {
            html.push_str(&match (at, column) {
                (0, _) => format!("<th scope=\"col\">{cell}</th>"),
                (_, 0) => format!("<th scope=\"row\">{cell}</th>"),
                _ => format!("<td>{cell}</td>"),
            });
        }
        html.push_str(match at {
            0 => "</tr></thead>\n<tbody>\n",
            _ => "</tr>\n",
        });
    }
    html.push_str("</tbody></table></div>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_a_log_stays_text() {
        let nasty = r#"/<script>alert('1')</script>"&amp;"#;
        let escaped = escape(nasty);
        assert!(!escaped.contains(['<', '>', '"', '\'']));
        assert_eq!(escape("/plain?a=b"), "/plain?a=b");
        assert_eq!(escape("&"), "&amp;");
    }
}
