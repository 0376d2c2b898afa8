//! Numbers, times and names as people read them.

use std::time::Duration;

/// `30969` as `30 969`, with a space that does not break.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push('\u{a0}');
        }
        shown.push(digit);
    }
    shown
}

/// `0.4567` as `45.7 %`; more digits below one.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 1.0 {
        format!("{percent:.2}\u{a0}%")
    } else {
        format!("{percent:.1}\u{a0}%")
    }
}

pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (number, unit) = match seconds {
        86_400.. if seconds.is_multiple_of(86_400) => (seconds / 86_400, "day"),
        3600.. if seconds.is_multiple_of(3600) => (seconds / 3600, "hour"),
        60.. if seconds.is_multiple_of(60) => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    };
    format!("{number}\u{a0}{unit}{}", if number == 1 { "" } else { "s" })
}

/// The span between two seconds, roughly.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        172_800.. => format!("{:.1}\u{a0}days", seconds as f64 / 86_400.0),
        7_200.. => format!("{:.1}\u{a0}hours", seconds as f64 / 3_600.0),
        120.. => format!("{:.1}\u{a0}minutes", seconds as f64 / 60.0),
        _ => format!("{seconds}\u{a0}seconds"),
    }
}

/// How long callers waited.
pub(crate) fn wait(wait: Duration) -> String {
    if wait < Duration::from_secs(1) {
        format!("{}\u{a0}ms", wait.as_millis())
    } else {
        format!("{:.1}\u{a0}s", wait.as_secs_f64())
    }
}

/// How long work took that takes minutes.
pub(crate) fn minutes(work: Duration) -> String {
    format!("{:.1}\u{a0}minutes", work.as_secs_f64() / 60.0)
}

pub(crate) fn bytes(bytes: f64) -> String {
    let (mut size, mut unit) = (bytes, "B");
    for larger in ["kB", "MB", "GB", "TB", "PB"] {
        if size < 1000.0 {
            break;
        }
        (size, unit) = (size / 1000.0, larger);
    }
    format!(
        "{size:.*}\u{a0}{unit}",
        usize::from(size < 10.0 && unit != "B")
    )
}

/// A key as text, short and harmless, whatever bytes it is made of.
pub(crate) fn name(bytes: &[u8]) -> String {
    const LONGEST: usize = 72;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(8 * LONGEST)]);
    let mut shown: String = text
        .chars()
        .map(crate::input::visible)
        .take(LONGEST)
        .collect();
    if shown.len() < text.len() || bytes.len() > 8 * LONGEST {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, shown) in [
            (0, "0"),
            (999, "999"),
            (1000, "1 000"),
            (1_234_567, "1 234 567"),
        ] {
            assert_eq!(count(number).replace('\u{a0}', " "), shown);
        }
    }

    #[test]
    fn sizes_and_times_have_their_unit() {
        let plain = |text: String| text.replace('\u{a0}', " ");
        assert_eq!(plain(bytes(512.0)), "512 B");
        assert_eq!(plain(bytes(5_240_000.0)), "5.2 MB");
        assert_eq!(plain(duration(Duration::from_secs(60))), "1 minute");
        assert_eq!(plain(duration(Duration::from_secs(21_600))), "6 hours");
        assert_eq!(plain(wait(Duration::from_micros(50_900))), "50 ms");
        assert_eq!(plain(wait(Duration::from_millis(1_040))), "1.0 s");
        assert_eq!(plain(minutes(Duration::from_secs(99))), "1.6 minutes");
        assert_eq!(plain(percent(0.0005)), "0.05 %");
        assert_eq!(plain(span(86_399)), "24.0 hours");
    }

    #[test]
    fn names_cannot_command_a_terminal() {
        let shown = name(b"/a\x1b[31m\xff\r\n");
        assert!(shown.chars().all(|c| !c.is_control()));
        assert!(name(&[b'a'; 9_999]).chars().count() <= 73);
        assert_eq!(name(b"/short"), "/short");
    }
}
