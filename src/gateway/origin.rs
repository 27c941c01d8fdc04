//! Which web pages may connect. Browsers send `Origin` and other programs do not, so the check keeps
//! a foreign page from using a visitor's network position.

/// Whether a handshake with these headers may go on. Allowed: no origin; the host that was called,
/// on any port and scheme; localhost; what the settings list.
pub(super) fn allowed(origin: Option<&str>, host: Option<&str>, listed: &[String]) -> bool {
    let Some(origin) = origin else { return true };
    if listed
        .iter()
        .any(|allowed| allowed == "*" || allowed == origin)
    {
        return true;
    }
    let Some((_, authority)) = origin.split_once("://") else {
        return false;
    };
    let name = host_name(authority);
    let is_local = ["localhost", "127.0.0.1", "[::1]"].contains(&name);
    is_local || host.is_some_and(|host| host_name(host).eq_ignore_ascii_case(name))
}

/// A host without its port.
fn host_name(authority: &str) -> &str {
    let end = match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => colon,
        _ => authority.len(),
    };
    &authority[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_connect() {
        let listed = ["https://desk.example.com".to_owned()];
        let host = Some("gw.example.net:5555");
        for (origin, expected) in [
            (None, true),
            (Some("http://gw.example.net:8000"), true),
            (Some("https://GW.example.net"), true),
            (Some("http://localhost:3000"), true),
            (Some("http://127.0.0.1"), true),
            (Some("http://[::1]:80"), true),
            (Some("https://desk.example.com"), true),
            (Some("http://desk.example.com"), false),
            (Some("https://evil.example"), false),
            (Some("https://localhost.evil.example"), false),
            (Some("https://gw.example.net.evil.example"), false),
            (Some("null"), false),
            (Some(""), false),
        ] {
            assert_eq!(allowed(origin, host, &listed), expected, "{origin:?}");
        }
        assert!(allowed(
            Some("https://evil.example"),
            host,
            &["*".to_owned()]
        ));
        assert!(allowed(Some("null"), host, &["null".to_owned()]));
        assert!(allowed(
            Some("http://[2001:db8::1]:8000"),
            Some("[2001:db8::1]:5555"),
            &[]
        ));
        assert!(!allowed(Some("http://evil.example"), None, &[]));
    }
}
