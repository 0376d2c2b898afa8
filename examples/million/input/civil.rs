//! Dates of access logs as seconds since the Unix epoch.

/// The last second of the year 9999: a later time is a broken clock or a
/// broken line.
pub(super) const LATEST: u64 = 253_402_300_799;

/// Parses `01/Aug/1995:00:00:01 -0400`, as the Common Log Format writes it.
/// `None` if it is something else, or before 1970 or after 9999.
pub(super) fn parse(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let (date, zone) = text.split_once(' ').unwrap_or((text, "+0000"));
    let mut parts = date.splitn(3, '/');
    let day = number(parts.next()?, 1, 31)?;
    let month = parts.next()?;
    let (month, _) = (1i64..)
        .zip(MONTHS)
        .find(|(_, name)| name.eq_ignore_ascii_case(month))?;
    let mut parts = parts.next()?.split(':');
    let year = number(parts.next()?, 1970, 9999)?;
    let hour = number(parts.next()?, 0, 23)?;
    let minute = number(parts.next()?, 0, 59)?;
    // A leap second is written as the sixtieth.
    let second = number(parts.next()?, 0, 60)?;
    if parts.next().is_some() || day > days_in(year, month) {
        return None;
    }
    let local = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    let seconds = u64::try_from(local - offset(zone)?).ok()?;
    (seconds <= LATEST).then_some(seconds)
}

/// Seconds that `+0130` is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_at_checked(2)?;
    if minutes.len() != 2 {
        return None;
    }
    Some(sign * (number(hours, 0, 23)? * 3600 + number(minutes, 0, 59)? * 60))
}

fn number(digits: &str, least: i64, most: i64) -> Option<i64> {
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok()?;
    (least..=most).contains(&number).then_some(number)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of 1970 or later.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leaps = before / 4 - before / 100 + before / 400;
    // Leap days before 1970: 1969 / 4 - 1969 / 100 + 1969 / 400.
    let whole_years = (year - 1970) * 365 + leaps - 477;
    let whole_months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    whole_years + whole_months + day - 1
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_to_the_second() {
        for (text, expected) in [
            ("01/Jan/1970:00:00:00 +0000", Some(0)),
            ("01/Aug/1995:00:00:01 -0400", Some(807_249_601)),
            ("29/Feb/2000:23:59:59 +0000", Some(951_868_799)),
            ("01/Mar/2000:00:00:00 +0000", Some(951_868_800)),
            ("10/Oct/2000:13:55:36 -0700", Some(971_211_336)),
            ("31/Dec/9999:23:59:59 +0000", Some(LATEST)),
            ("10/Oct/2000:13:55:36", Some(971_186_136)),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "/",
            "01/Aug",
            "29/Feb/1999:00:00:00 +0000",
            "31/Apr/2000:00:00:00 +0000",
            "01/Foo/2000:00:00:00 +0000",
            "01/Jan/1969:23:59:59 +0000",
            "01/Jan/99999999999999999999:00:00:00 +0000",
            "01/Jan/2000:24:00:00 +0000",
            "01/Jan/2000:00:00:00 0400",
            "01/Jan/2000:00:00:00 +4",
            "01/Jan/2000:00:00:00:00 +0000",
            "01/Jan/1970:00:00:00 +0100",
            "+1/Jan/2000:00:00:00 +0000",
            "01/Jan/2000:00:00:00 +€1",
            "31/Dec/9999:23:59:59 -0100",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"\xff\xfe"), None);
    }
}
