//! What a resource is given: who asks, the values of path and query, the body's data.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Map, Value};

use super::envelope::ApiError;
use super::routes::Access;
use super::state::ApiState;
use crate::auth::{AccountRecord, Directory, PrivLevel};
use crate::entropy::random_id;
use crate::model::clock::unix_now;
use crate::model::{AccountId, Identity, Token};

/// Who asks, and what the envelope repeats.
#[derive(Debug)]
pub(super) struct Context {
    /// From `X-Request-ID` when sane, else made.
    pub(super) request_id: String,
    /// This node (kazoo-rest.md A.2).
    pub(super) node: Arc<String>,
    /// Of a valid token; a bad one is as none.
    pub(super) caller: Option<Identity>,
    /// Requests that the caller's address has left before 429.
    pub(super) remaining: u32,
    /// The token as it came, if answers are to repeat it.
    repeat: Option<Token>,
}

impl Context {
    pub(super) fn new(state: &ApiState, headers: &HeaderMap, query: &Query) -> Self {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let in_query = state
            .settings
            .query_token
            .then(|| query.get("auth_token"))
            .flatten();
        let token = token(headers, in_query);
        let verify = |token: &Token| state.shared.authority.verify(token, unix_now()).ok();
        let wanted = header("x-auth-account-id");
        let caller = token
            .as_ref()
            .and_then(verify)
            .filter(|caller| wanted.is_none_or(|wanted| wanted == caller.account.as_str()));
        Self {
            request_id: header("x-request-id")
                .filter(|id| is_sane(id))
                .map_or_else(random_id, str::to_owned),
            node: state.node.clone(),
            caller,
            remaining: 0,
            repeat: token.filter(|_| state.settings.repeat_token),
        }
    }

    /// For the setting `compat.repeat_auth_token`: the token of a request that had a good one.
    pub(super) fn repeated_token(&self) -> Option<Token> {
        self.repeat.clone().filter(|_| self.caller.is_some())
    }
}

/// The query string's values, decoded. The first of a name counts.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(text.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        pairs
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// `true` or `false`; false when it is not there.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(other) => Err(ApiError::not_one_of(name, &["true", "false"], other)),
        }
    }
}

/// A request that passed everything that is the same for all resources.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) state: Arc<ApiState>,
    pub(super) context: Context,
    /// The client's address.
    pub(super) peer: IpAddr,
    /// Values of the path's holes, by their names.
    pub(super) path: Vec<(String, String)>,
    pub(super) query: Query,
    /// Empty for methods that have none.
    pub(super) body: Bytes,
}

impl Request {
    /// The caller, who must have a token.
    pub(super) fn caller(&self) -> Result<&Identity, ApiError> {
        self.context
            .caller
            .as_ref()
            .ok_or_else(ApiError::invalid_credentials)
    }

    /// The accounts and users of this moment.
    pub(super) fn directory(&self) -> Arc<Directory> {
        self.state.shared.authority.directory()
    }

    /// A value of the path.
    pub(super) fn part(&self, name: &str) -> &str {
        let mut parts = self.path.iter();
        parts
            .find(|(found, _)| found == name)
            .map_or("", |(_, value)| value)
    }

    /// The account in the path, which the caller may see: its own or one below, any for super-duper
    /// admins. It may be known to an issuer of tokens only.
    pub(super) fn account(&self) -> Result<AccountId, ApiError> {
        let caller = self.caller()?;
        let text = self.part("account_id");
        let account = AccountId::parse(text).ok_or_else(|| ApiError::bad_identifier(text))?;
        let directory = self.directory();
        if caller.superduper && directory.account(&account).is_none() {
            return Err(ApiError::bad_identifier(text));
        }
        // The same answer for another's account and for none: nobody learns which ids exist.
        if !self.sees(&directory, &account) {
            return Err(ApiError::forbidden());
        }
        Ok(account)
    }

    /// Whether the caller may know of an account.
    pub(super) fn sees(&self, directory: &Directory, account: &AccountId) -> bool {
        let caller = self.context.caller.as_ref();
        caller.is_some_and(|caller| {
            caller.superduper || directory.is_within(account, &caller.account)
        })
    }

    /// As [`Request::account`], of an account that is known here.
    pub(super) fn known_account<'d>(
        &self,
        directory: &'d Directory,
    ) -> Result<&'d AccountRecord, ApiError> {
        let account = self.account()?;
        let found = directory.account(&account);
        found.ok_or_else(|| ApiError::bad_identifier(account.as_str()))
    }

    /// The id of that.
    pub(super) fn known_id(&self) -> Result<AccountId, ApiError> {
        Ok(self.known_account(&self.directory())?.id.clone())
    }

    /// Whether the caller may change things: a token of the account as such, or of an admin.
    pub(super) fn is_admin(&self) -> Result<bool, ApiError> {
        let caller = self.caller()?;
        let Some(owner) = &caller.owner else {
            return Ok(true);
        };
        let directory = self.directory();
        let user = directory.user_of(&caller.account, owner);
        Ok(user.is_some_and(|user| user.priv_level == PrivLevel::Admin))
    }

    /// Whether the caller may still do what it asked for: while a body was read, or a slow hash made,
    /// its token may have been taken away.
    pub(super) fn still_allowed(&self, access: Access) -> Result<(), ApiError> {
        if let Some(caller) = &self.context.caller {
            let authority = &self.state.shared.authority;
            authority
                .look_again(caller, unix_now())
                .map_err(|_| ApiError::invalid_credentials())?;
        }
        access.check(self)
    }

    /// As [`Request::is_admin`], as an error.
    pub(super) fn admin(&self) -> Result<(), ApiError> {
        if self.is_admin()? {
            return Ok(());
        }
        Err(ApiError::forbidden_because("priv_level admin is needed"))
    }

    /// The `data` of the body's envelope (A.7).
    pub(super) fn data(&self) -> Result<Map<String, Value>, ApiError> {
        data(&self.body)
    }
}

/// At most 128 characters that can do no harm in logs (A.3).
fn is_sane(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:@/+=-".contains(c);
    (1..=128).contains(&id.len()) && id.chars().all(plain)
}

/// The first that is there counts, even if it is empty or wrong: `X-Auth-Token`,
/// `Authorization: Bearer`, and where that is allowed the query (A.9).
fn token(headers: &HeaderMap, in_query: Option<&str>) -> Option<Token> {
    let header = |name| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let bearer = || header(AUTHORIZATION.as_str()).map(|value| strip_scheme(value).unwrap_or(""));
    header("x-auth-token")
        .or_else(bearer)
        .or(in_query)
        .map(Token::new)
}

/// The scheme's case does not matter (RFC 9110, 11.1).
fn strip_scheme(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn data(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    let envelope: Value =
        serde_json::from_slice(body).map_err(|error| ApiError::no_json(&error.to_string()))?;
    let Value::Object(envelope) = envelope else {
        return Err(ApiError::no_json("expected an object"));
    };
    // Keys of the envelope itself are normalised, those below are not.
    let found = envelope
        .into_iter()
        .find(|(key, _)| key.eq_ignore_ascii_case("data"));
    match found {
        Some((_, Value::Object(data))) => Ok(data),
        None | Some((_, Value::Null)) => Err(ApiError::required("data")),
        Some((_, other)) => Err(ApiError::wrong_type("data", "object", &other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids() {
        assert!(is_sane("5f0c2d9e-8b7a:4@x/+=_."));
        for bad in ["", "a b", "a\nb", &"x".repeat(129)] {
            assert!(!is_sane(bad), "{bad:?}");
        }
    }

    #[test]
    fn where_tokens_are() {
        let mut headers = HeaderMap::new();
        assert_eq!(token(&headers, None), None);
        assert_eq!(token(&headers, Some("q")), Some(Token::new("q")));
        headers.insert(AUTHORIZATION, "bearer a".parse().expect("a value"));
        assert_eq!(token(&headers, Some("q")), Some(Token::new("a")));
        headers.insert(AUTHORIZATION, "Basic a".parse().expect("a value"));
        assert_eq!(token(&headers, Some("q")), Some(Token::new("")));
        headers.insert("x-auth-token", "b".parse().expect("a value"));
        assert_eq!(token(&headers, Some("q")), Some(Token::new("b")));
    }

    #[test]
    fn query_values() {
        let query = Query::parse(Some("a=1%2F2&b&a=3&c=x+y"));
        assert_eq!(query.get("a"), Some("1/2"));
        assert_eq!(query.get("c"), Some("x y"));
        assert_eq!(query.get("d"), None);
        assert!(query.flag("b").is_ok_and(|flag| flag));
        assert!(query.flag("d").is_ok_and(|flag| !flag));
        assert!(query.flag("a").is_err());
    }
}
