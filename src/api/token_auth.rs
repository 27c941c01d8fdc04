//! What is this token, and logging out with it (kazoo-rest.md B.3, C.5).

use serde_json::{Value, json};

use super::about::about;
use super::envelope::{Answer, ApiError, Success};
use super::fault::Fault;
use super::request::Request;
use crate::auth::TokenError;
use crate::model::clock::unix_now;
use crate::model::{Identity, Token};

/// How long a token without an end is remembered as revoked: as long as numbers go.
const FOR_EVER: u64 = i64::MAX as u64;

/// `GET /v2/token_auth`: the request's own token. Never its `identity_sig`.
pub(super) async fn own(request: &Request) -> Answer {
    let caller = request.caller()?;
    let claims = &caller.grant.claims;
    let mut data = describe(request, caller);
    data["iss"] = claims.iss.as_str().into();
    data["method"] = json!(claims.method);
    data["exp"] = json!(claims.exp);
    Ok(Success::ok(data))
}

/// `DELETE /v2/token_auth`: the token is worth nothing from now on, on all nodes.
pub(super) async fn log_out(request: &Request) -> Answer {
    let caller = request.caller()?;
    let digest = caller.grant.digest;
    let expires = caller.expires_at.unwrap_or(FOR_EVER);
    let work = move |store: &mut crate::store::Store| store.revoke(&digest, expires);
    request.state.change(work).await?;
    tracing::info!(account = %caller.account, token = ?digest, "logged out");
    Ok(Success {
        data: None,
        ..Success::ok(Value::Null)
    })
}

/// `GET /v2/auth/tokeninfo?token=`: open, since the token is all that it tells of.
pub(super) async fn of_query(request: &Request) -> Answer {
    let token = request.query.get("token").filter(|token| !token.is_empty());
    look_at(request, token, Fault::NoTokenInParams)
}

/// `POST /v2/auth/tokeninfo`: the same, with the token in the body.
pub(super) async fn of_body(request: &Request) -> Answer {
    let data = request.data()?;
    let token = match data.get("token") {
        None | Some(Value::Null) => None,
        Some(Value::String(token)) => Some(token.as_str()),
        // Not repeated: it may be a token all the same.
        Some(_) => return Err(ApiError::wrong_type("token", "string", &Value::Null)),
    };
    look_at(request, token, Fault::NoTokenInRequest)
}

fn look_at(request: &Request, token: Option<&str>, missing: Fault) -> Answer {
    let token = token.ok_or_else(|| ApiError::bad_token(missing))?;
    let authority = &request.state.shared.authority;
    let identity = authority
        .verify(&Token::new(token), unix_now())
        .map_err(refusal)?;
    Ok(Success::ok(describe(request, &identity)))
}

fn describe(request: &Request, identity: &Identity) -> Value {
    let directory = request.directory();
    let owner = identity.owner.as_deref();
    let user = owner.and_then(|owner| directory.user(owner));
    about(&directory, &identity.account, user, owner)
}

fn refusal(error: TokenError) -> ApiError {
    ApiError::bad_token(match error {
        TokenError::Malformed => Fault::InvalidJwt,
        TokenError::Algorithm => Fault::AlgorithmNotSupported,
        TokenError::UnknownIssuer | TokenError::UnknownKey | TokenError::BadSignature => {
            Fault::InvalidJwtSignature
        }
        TokenError::Expired => Fault::TokenExpired,
        TokenError::BadIdentity => Fault::InvalidIdentitySignature,
        TokenError::UnknownIdentity => Fault::InvalidIdentityProvider,
        TokenError::Disabled => Fault::EntityDisabled,
        TokenError::Revoked => Fault::TokenRevoked,
        TokenError::NoAccount => Fault::NoAssociatedAccount,
        TokenError::Superduper => Fault::IssuerNotAllowed,
    })
}
