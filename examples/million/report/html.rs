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
    let row = |cells: &Vec<String>, head: bool| {
        let cells = all(cells.iter().enumerate(), |(column, cell)| {
            match (head, column) {
                (true, _) => format!("<th scope=\"col\">{cell}</th>"),
                (false, 0) => format!("<th scope=\"row\">{cell}</th>"),
                (false, _) => format!("<td>{cell}</td>"),
            }
        });
        format!("<tr>{cells}</tr>\n")
    };
    format!(
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{caption}\">\
         <table><caption>{caption}</caption>\n<thead>{}</thead>\n<tbody>\n{}</tbody></table></div>\n",
        all(rows.iter().take(1), |cells| row(cells, true)),
        all(rows.iter().skip(1), |cells| row(cells, false)),
    )
}

/// The HTML of all items, one after the other.
pub(super) fn all<T>(items: impl IntoIterator<Item = T>, html: impl FnMut(T) -> String) -> String {
    let parts: Vec<String> = items.into_iter().map(html).collect();
    parts.concat()
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
