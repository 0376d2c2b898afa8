//! The text that the output plugin `test_decoding` writes, one line per change.
//!
//! It comes with every PostgreSQL and asks nothing of the tables. `pgoutput`, the other that does, needs a publication, and
//! with one that has all tables PostgreSQL refuses updates of those that have no key.

use super::change::{Change, ChangeKind, Row, Value};

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Begin(u32),
    Commit,
    Changes(Vec<Change>),
    /// A message of the application's own.
    Other,
}

/// `None` if it is none that this version of the plugin writes.
pub(super) fn parse(line: &str) -> Option<Line> {
    if let Some(xid) = line.strip_prefix("BEGIN ") {
        return Some(Line::Begin(xid.trim().parse().ok()?));
    }
    if line.starts_with("COMMIT") {
        return Some(Line::Commit);
    }
    let Some(rest) = line.strip_prefix("table ") else {
        return line.starts_with("message: ").then_some(Line::Other);
    };
    let mut text = Text(rest);
    let tables = text.until(": ")?;
    let kind = if let Some(rest) = text.0.strip_prefix("INSERT: ") {
        ChangeKind::Insert(Text(rest).row()?)
    } else if let Some(rest) = text.0.strip_prefix("UPDATE: ") {
        update(rest)?
    } else if let Some(rest) = text.0.strip_prefix("DELETE: ") {
        let key = if rest == NO_DATA {
            None
        } else {
            Some(Text(rest).row()?)
        };
        ChangeKind::Delete { key }
    } else if text.0.starts_with("TRUNCATE: ") {
        let changes = names(tables)
            .map(|table| Change {
                table,
                kind: ChangeKind::Truncate,
            })
            .collect();
        return Some(Line::Changes(changes));
    } else {
        return None;
    };
    let table = tables.to_owned();
    Some(Line::Changes(vec![Change { table, kind }]))
}

const NO_DATA: &str = "(no-tuple-data)";

fn update(text: &str) -> Option<ChangeKind> {
    let Some(rest) = text.strip_prefix("old-key: ") else {
        let row = Text(text).row()?;
        return Some(ChangeKind::Update { old_key: None, row });
    };
    let mut text = Text(rest);
    let mut old_key = Row::new();
    while !text.0.starts_with("new-tuple: ") {
        old_key.push(text.column()?);
        text.0 = text.0.strip_prefix(' ')?;
    }
    let row = Text(text.0.strip_prefix("new-tuple: ")?).row()?;
    let old_key = Some(old_key);
    Some(ChangeKind::Update { old_key, row })
}

fn names(tables: &str) -> impl Iterator<Item = String> {
    let mut text = Text(tables);
    std::iter::from_fn(move || {
        if text.0.is_empty() {
            return None;
        }
        let name = match text.until(", ") {
            Some(name) => name,
            None => std::mem::take(&mut text.0),
        };
        Some(name.to_owned())
    })
}

/// What is still to be read.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// Takes what is before the separator, which does not count between double quotes, and the separator.
    fn until(&mut self, separator: &str) -> Option<&'a str> {
        let mut quoted = false;
        for (at, c) in self.0.char_indices() {
            if c == '"' {
                quoted = !quoted;
            } else if !quoted && self.0[at..].starts_with(separator) {
                let (before, rest) = self.0.split_at(at);
                self.0 = &rest[separator.len()..];
                return Some(before);
            }
        }
        None
    }

    fn row(mut self) -> Option<Row> {
        let mut row = Row::new();
        while !self.0.is_empty() {
            if !row.is_empty() {
                self.0 = self.0.strip_prefix(' ')?;
            }
            row.push(self.column()?);
        }
        Some(row)
    }

    /// `name[type]:value`
    fn column(&mut self) -> Option<(String, Value)> {
        let name = unquoted(self.until("[")?);
        self.until("]:")?;
        Some((name, self.value()?))
    }

    fn value(&mut self) -> Option<Value> {
        let text = self.0.strip_prefix('B').unwrap_or(self.0);
        if let Some(rest) = text.strip_prefix('\'') {
            return self.quoted(rest).map(Value::Text);
        }
        let end = self.0.find(' ').unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(match word {
            "null" => Value::Null,
            "unchanged-toast-datum" => Value::Unchanged,
            _ => Value::Text(word.to_owned()),
        })
    }

    /// Up to a quote that is not doubled.
    fn quoted(&mut self, text: &'a str) -> Option<String> {
        let mut value = String::new();
        let mut rest = text;
        loop {
            let (part, behind) = rest.split_once('\'')?;
            value.push_str(part);
            let Some(behind) = behind.strip_prefix('\'') else {
                self.0 = behind;
                return Some(value);
            };
            value.push('\'');
            rest = behind;
        }
    }
}

fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|n| n.strip_suffix('"')) {
        Some(name) => name.replace("\"\"", "\""),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    fn change(line: &str) -> Change {
        match parse(line) {
            Some(Line::Changes(mut changes)) if changes.len() == 1 => changes.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_row_is_read_whatever_its_values_look_like() {
        let insert = change(
            "table public.t: INSERT: id[integer]:-1 s[character varying]:'it''s ]: ''a'' [x]:1' n[text]:null \
             f[numeric]:1.50 b[boolean]:true bits[bit]:B'101' l[integer[]]:'{1,2}' empty[text]:''",
        );
        let ChangeKind::Insert(row) = insert.kind else {
            panic!()
        };
        let values: Vec<Value> = row.into_iter().map(|(_, value)| value).collect();
        let expected = [
            text("-1"),
            text("it's ]: 'a' [x]:1"),
            Value::Null,
            text("1.50"),
            text("true"),
            text("101"),
            text("{1,2}"),
            text(""),
        ];
        assert_eq!(values, expected);
    }

    #[test]
    fn names_are_read_with_their_quotes() {
        let insert = change(r#"table "S: x"."T "" t": INSERT: "a [b]: ""c"""["my type]:"]:'v'"#);
        assert_eq!(insert.table, r#""S: x"."T "" t""#);
        let row = vec![(r#"a [b]: "c""#.to_owned(), text("v"))];
        assert_eq!(insert.kind, ChangeKind::Insert(row));
    }

    #[test]
    fn updates_have_a_key_where_it_changed_and_holes_where_values_lie_elsewhere() {
        let plain =
            change("table public.t: UPDATE: id[integer]:1 large[text]:unchanged-toast-datum");
        let row = vec![
            ("id".to_owned(), text("1")),
            ("large".to_owned(), Value::Unchanged),
        ];
        assert_eq!(plain.kind, ChangeKind::Update { old_key: None, row });
        let moved = change(
            "table public.t: UPDATE: old-key: a[text]:'x y' b[integer]:2 new-tuple: a[text]:'z'",
        );
        let old = vec![("a".to_owned(), text("x y")), ("b".to_owned(), text("2"))];
        let row = vec![("a".to_owned(), text("z"))];
        assert_eq!(
            moved.kind,
            ChangeKind::Update {
                old_key: Some(old),
                row
            }
        );
    }

    #[test]
    fn deletes_and_truncates_say_what_they_can() {
        let key = Some(vec![("id".to_owned(), text("7"))]);
        let delete = change("table public.t: DELETE: id[integer]:7");
        assert_eq!(delete.kind, ChangeKind::Delete { key });
        let unknown = change("table public.t: DELETE: (no-tuple-data)");
        assert_eq!(unknown.kind, ChangeKind::Delete { key: None });
        let Some(Line::Changes(both)) = parse("table public.a, \"x, y\".b: TRUNCATE: (no-flags)")
        else {
            panic!()
        };
        let tables: Vec<_> = both.iter().map(|change| &*change.table).collect();
        assert_eq!(tables, ["public.a", "\"x, y\".b"]);
    }

    #[test]
    fn transactions_begin_and_end_and_the_unknown_is_refused() {
        assert_eq!(parse("BEGIN 742"), Some(Line::Begin(742)));
        assert_eq!(parse("COMMIT 742"), Some(Line::Commit));
        assert_eq!(
            parse("message: transactional: 1 prefix: p, sz: 2 content:hi"),
            Some(Line::Other)
        );
        for wrong in [
            "",
            "BEGIN x",
            "table",
            "table public.t",
            "table public.t: MERGE: id[integer]:1",
            "table public.t: INSERT: id[integer",
            "table public.t: INSERT: s[text]:'open",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
