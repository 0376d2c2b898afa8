//! Functions that change something, or tell what only the primary or only this connection knows.

use std::cmp::Ordering;

/// Whether a function that comes with PostgreSQL has to be called at the primary. Names are compared as if without quotes.
pub(super) fn needs_primary(name: &str) -> bool {
    NAMES.binary_search_by(|known| compare(known, name)).is_ok()
        || PREFIXES.iter().any(|prefix| {
            name.get(..prefix.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
        })
}

/// The order of two names, whatever their case.
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    let one = one.bytes().map(|byte| byte.to_ascii_lowercase());
    one.cmp(other.bytes().map(|byte| byte.to_ascii_lowercase()))
}

/// Sorted.
const NAMES: &[&str] = &[
    "currval",
    "cursor_to_xml",
    "database_to_xml",
    "dblink",
    "dblink_exec",
    "dblink_send_query",
    "lastval",
    "lowrite",
    "nextval",
    "pg_cancel_backend",
    "pg_current_xact_id",
    "pg_current_xact_id_if_assigned",
    "pg_export_snapshot",
    "pg_extension_config_dump",
    "pg_file_write",
    "pg_import_system_collations",
    "pg_notification_queue_usage",
    "pg_notify",
    "pg_promote",
    "pg_reload_conf",
    "pg_rotate_logfile",
    "pg_start_backup",
    "pg_stop_backup",
    "pg_switch_wal",
    "pg_terminate_backend",
    "query_to_xml",
    "query_to_xml_and_xmlschema",
    "set_config",
    "setseed",
    "setval",
    "table_to_xml",
    "txid_current",
    "txid_current_if_assigned",
];

const PREFIXES: &[&str] = &[
    "brin_",
    "gin_clean",
    "lo_",
    "pg_advisory_",
    "pg_backup_",
    "pg_copy_",
    "pg_create_",
    "pg_current_wal_",
    "pg_drop_",
    "pg_logical_",
    "pg_replication_",
    "pg_stat_reset",
    "pg_try_advisory_",
    "pg_walfile_",
    "pg_wal_replay_",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_sorted_so_that_each_is_found() {
        assert!(
            NAMES
                .windows(2)
                .all(|pair| compare(pair[0], pair[1]).is_lt())
        );
        for name in NAMES {
            assert!(needs_primary(name) && needs_primary(&name.to_uppercase()));
        }
        assert!(needs_primary("PG_Advisory_Lock"));
        assert!(!needs_primary("lower") && !needs_primary("now") && !needs_primary(""));
    }
}
