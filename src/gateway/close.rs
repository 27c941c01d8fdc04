//! Why a socket ends: close code, text, and label of the metric (websocket-protocol.md section 8).

use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::session::Close;

/// Longest reason that fits a close frame (RFC 6455, 5.5).
const MAX_REASON: usize = 123;

/// Why a socket ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed, or hung up.
    Client,
    /// The session's own reasons.
    Session(Close),
    /// More bytes waited for it than may.
    SlowConsumer(usize),
    /// It had most waiting, so many bytes, when too much waited for all sockets.
    OverBudget(usize),
    /// So many sockets are open already, on this node.
    Full(usize),
    /// So many sockets are open already, of its account.
    AccountFull(usize),
    /// One write took too long.
    WriteTimeout,
    /// The client broke the websocket protocol.
    Protocol(String),
    /// A text that is not UTF-8.
    Utf8,
    /// A message longer than may be.
    TooLong(usize),
    /// The node stops for good.
    GoingAway,
    /// The node restarts.
    Restart,
    /// Somebody asked for it over REST.
    Administrator,
}

impl CloseReason {
    /// The metric's label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Session(Close::Login(_)) => "login_timeout",
            Self::Session(Close::Rate) => "rate",
            Self::Session(Close::Idle(_)) => "idle",
            Self::Session(Close::Dead) => "dead",
            Self::Session(Close::Expired) => "token_expired",
            Self::Session(Close::Revoked(_)) => "token_revoked",
            Self::Session(Close::AccessChanged) => "access_changed",
            Self::Administrator => "administrator",
            Self::SlowConsumer(_) => "slow_consumer",
            Self::OverBudget(_) => "over_budget",
            Self::Full(_) => "full",
            Self::AccountFull(_) => "account_full",
            Self::WriteTimeout => "write_timeout",
            Self::Protocol(_) => "protocol",
            Self::Utf8 => "utf8",
            Self::TooLong(_) => "too_long",
            Self::GoingAway => "going_away",
            Self::Restart => "restart",
        }
    }

    /// The limit that was reached, if that is why.
    pub(super) fn limit(&self) -> Option<&'static str> {
        match self {
            Self::SlowConsumer(_) => Some("waiting_bytes"),
            Self::OverBudget(_) => Some("waiting_bytes_in_all"),
            Self::Full(_) => Some("sockets"),
            Self::AccountFull(_) => Some("sockets_of_account"),
            _ => None,
        }
    }

    /// Whether the client may still read what waited for it: it does read, and nothing was taken from
    /// it.
    pub(super) fn lets_finish(&self) -> bool {
        match self {
            Self::GoingAway | Self::Restart => true,
            Self::Session(close) => !matches!(close, Close::Revoked(_) | Close::AccessChanged),
            _ => false,
        }
    }

    /// What the client is told; `None` where nobody listens any more.
    pub(super) fn frame(&self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::Client | Self::Session(Close::Dead) => return None,
            Self::Session(Close::Login(limit)) => {
                (1008, format!("no valid token within {limit:?}"))
            }
            Self::Session(Close::Rate) => (1008, "rate limit ignored".into()),
            Self::Session(Close::Idle(limit)) => (1000, format!("no frame for {limit:?}")),
            Self::Session(Close::Expired) => (4401, "token expired".into()),
            Self::Session(Close::Revoked(why)) => (4401, format!("token {why}")),
            Self::Session(Close::AccessChanged) => {
                (1008, "access to an account changed: subscribe again".into())
            }
            Self::Administrator => (1008, "closed by an administrator".into()),
            Self::SlowConsumer(bytes) | Self::OverBudget(bytes) => {
                (1008, format!("slow consumer: {bytes} bytes waiting"))
            }
            Self::Full(most) => (1013, format!("the gateway is full: at most {most} sockets")),
            Self::AccountFull(most) => (
                1013,
                format!("too many sockets: at most {most} for an account"),
            ),
            Self::WriteTimeout => (1008, "slow consumer: a write took too long".into()),
            Self::Protocol(error) => (1002, error.clone()),
            Self::Utf8 => (1007, "text is not UTF-8".into()),
            Self::TooLong(most) => (1009, format!("message too long: at most {most} bytes")),
            Self::GoingAway => (1001, "the gateway stops".into()),
            Self::Restart => (1012, "the gateway restarts, come back".into()),
        };
        let mut end = reason.len().min(MAX_REASON);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Some(CloseFrame {
            code: CloseCode::from(code),
            reason: reason[..end].into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::described;

    /// Every reason that is told. A new one does not compile here until it is in the list.
    fn told() -> Vec<CloseReason> {
        let entries = described::list("x-close-codes");
        let revoked = entries
            .iter()
            .find(|entry| described::text(entry, "text") == "token {reason}");
        let why = described::reasons(revoked.expect("an entry"))[0].to_owned();
        let time = Duration::from_secs(60);
        let all = vec![
            CloseReason::Session(Close::Login(time)),
            CloseReason::Session(Close::Rate),
            CloseReason::Session(Close::Idle(time)),
            CloseReason::Session(Close::Expired),
            CloseReason::Session(Close::Revoked(why)),
            CloseReason::Session(Close::AccessChanged),
            CloseReason::SlowConsumer(7),
            CloseReason::Full(7),
            CloseReason::AccountFull(7),
            CloseReason::WriteTimeout,
            CloseReason::Protocol("Reserved bits are non-zero".into()),
            CloseReason::Utf8,
            CloseReason::TooLong(7),
            CloseReason::GoingAway,
            CloseReason::Restart,
            CloseReason::Administrator,
        ];
        for reason in &all {
            match reason {
                CloseReason::Client | CloseReason::Session(Close::Dead) => panic!("nobody listens"),
                CloseReason::OverBudget(_) => panic!("told as a slow consumer"),
                CloseReason::Session(
                    Close::Login(_)
                    | Close::Rate
                    | Close::Idle(_)
                    | Close::Expired
                    | Close::Revoked(_)
                    | Close::AccessChanged,
                )
                | CloseReason::SlowConsumer(_)
                | CloseReason::Full(_)
                | CloseReason::AccountFull(_)
                | CloseReason::WriteTimeout
                | CloseReason::Protocol(_)
                | CloseReason::Utf8
                | CloseReason::TooLong(_)
                | CloseReason::GoingAway
                | CloseReason::Restart
                | CloseReason::Administrator => {}
            }
        }
        all
    }

    #[test]
    fn each_close_is_described_and_nothing_else() {
        let mut entries = described::list("x-close-codes").to_vec();
        for reason in told() {
            let frame = reason.frame().expect("told");
            let fitting = |entry: &serde_json::Value| {
                let text = described::text(entry, "text");
                entry["code"] == u16::from(frame.code) && described::fits(text, &frame.reason)
            };
            // The first one that fits is meant: each reason takes its own away.
            let found = entries.iter().position(fitting);
            let found = found.unwrap_or_else(|| panic!("not in asyncapi.json: {frame:?}"));
            entries.remove(found);
        }
        assert!(entries.is_empty(), "never sent: {entries:?}");
    }
}
