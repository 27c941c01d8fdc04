//! Kazoo's exchanges (kazoo-amqp.md 1.2). All are declared not durable, not auto-deleted, without
//! arguments; any other declaration breaks a Kazoo cluster.

/// The type of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By pattern of the routing key.
    Topic,
    /// By the very routing key.
    Direct,
    /// To every queue bound to it.
    Fanout,
}

/// The type of one of Kazoo's exchanges; `None` for any other name.
pub fn kazoo(name: &str) -> Option<Kind> {
    match name {
        "callevt" | "callmgr" | "conference" | "faxes" | "configuration" | "presence"
        | "notifications" | "im" | "registrar" | "sysconf" | "kapps" => Some(Kind::Topic),
        "targeted" => Some(Kind::Direct),
        "nodes" => Some(Kind::Fanout),
        _ => None,
    }
}
