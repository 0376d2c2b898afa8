use std::error::Error as _;
use std::io;

use tokio_postgres::error::SqlState;

use super::PostgresError;
use crate::replica::Fault;

/// What an error means.
///
/// `25006` counts as a change of role, though a transaction that its own user began `READ ONLY` fails with it too: PostgreSQL
/// does not tell them apart.
pub(super) fn classify(error: &PostgresError) -> Fault {
    match error {
        PostgresError::Connect { source, .. } => match source.code().map(of_state) {
            Some(Fault::Overload) => Fault::Overload,
            _ => Fault::ConnectionLost,
        },
        PostgresError::Client(error) => match error.code() {
            Some(state) => of_state(state),
            None => of_client(error),
        },
        // Said before anything was sent.
        PostgresError::Address { .. }
        | PostgresError::ConfigurationNamesHosts
        | PostgresError::NoHost { .. }
        | PostgresError::Diverged { .. }
        | PostgresError::OtherFork { .. } => Fault::Query,
        _ => Fault::Unknown,
    }
}

fn of_state(state: &SqlState) -> Fault {
    match state.code() {
        "25006" => Fault::RoleChanged,
        "40001" | "40P01" | "55P03" => Fault::Transient,
        // Ended while idle, or before it began.
        "08001" | "08004" | "25P03" | "57P03" | "57P05" => Fault::ConnectionLost,
        // A backend that is told to end says so wherever it stands, even between a commit and its answer.
        "40003" | "57P01" | "57P02" => Fault::Unknown,
        code if code.starts_with("08") => Fault::Unknown,
        code if code.starts_with("53") => Fault::Overload,
        _ => Fault::Query,
    }
}

/// Of an error that did not come from the server.
fn of_client(error: &tokio_postgres::Error) -> Fault {
    let of_connection = error.is_closed()
        || error
            .source()
            .is_some_and(<dyn std::error::Error>::is::<io::Error>);
    // The client names no kinds. A text that changed is Unknown, which is safe.
    let text = error.to_string();
    let nothing_sent =
        text.starts_with("error serializing parameter") || text.starts_with("expected ");
    if nothing_sent && !of_connection {
        Fault::Query
    } else {
        Fault::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_mean_what_their_class_and_their_moment_say() {
        let expected = [
            ("25006", Fault::RoleChanged),
            ("40001", Fault::Transient),
            ("40P01", Fault::Transient),
            ("55P03", Fault::Transient),
            ("53300", Fault::Overload),
            ("53100", Fault::Overload),
            ("57P01", Fault::Unknown),
            ("57P02", Fault::Unknown),
            ("57P03", Fault::ConnectionLost),
            ("57P05", Fault::ConnectionLost),
            ("25P03", Fault::ConnectionLost),
            ("08001", Fault::ConnectionLost),
            ("08006", Fault::Unknown),
            ("08007", Fault::Unknown),
            ("08P01", Fault::Unknown),
            ("40003", Fault::Unknown),
            ("23505", Fault::Query),
            ("42601", Fault::Query),
            ("57014", Fault::Query),
        ];
        for (code, fault) in expected {
            assert_eq!(of_state(&SqlState::from_code(code)), fault, "{code}");
        }
    }
}
