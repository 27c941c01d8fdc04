//! All routes under `/v2` on one page. The OpenAPI document is held against this table.

use std::future::Future;
use std::pin::Pin;

use http::Method;

use super::envelope::{Answer, ApiError};
use super::request::Request;
use super::{
    accounts, api_auth, documents, events, sockets, token_auth, tree, user_auth, users, websockets,
};

/// What a resource does with a request.
pub(super) type Handler =
    for<'r> fn(&'r Request) -> Pin<Box<dyn Future<Output = Answer> + Send + 'r>>;

/// Who may ask. The pipeline checks it before the body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody; a token is not looked at.
    Open,
    /// Whoever has a valid token.
    Token,
    /// Whose account is the path's `account_id` or stands above it.
    Account,
    /// The same, and may change things.
    Admin,
    /// Admins of super-duper admin accounts.
    Superduper,
}

/// One method of one path.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    /// With its holes in braces.
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) handler: Handler,
}

impl Access {
    pub(super) fn check(self, request: &Request) -> Result<(), ApiError> {
        match self {
            Self::Open => Ok(()),
            Self::Token => request.caller().map(drop),
            Self::Account => request.account().map(drop),
            Self::Admin => request.account().and_then(|_| request.admin()),
            Self::Superduper if request.caller()?.superduper => request.admin(),
            Self::Superduper => Err(ApiError::forbidden()),
        }
    }
}

/// The table. A `PUT` creates, a `POST` replaces, a `PATCH` changes what it names.
pub(super) fn table() -> Vec<Route> {
    use Access::{Account, Admin, Open, Superduper, Token};
    const GET: Method = Method::GET;
    const PUT: Method = Method::PUT;
    const POST: Method = Method::POST;
    const PATCH: Method = Method::PATCH;
    const DELETE: Method = Method::DELETE;
    /// An `async fn` as a [`Handler`].
    macro_rules! run {
        ($function:path) => {
            |request| Box::pin($function(request))
        };
    }
    let account = "/v2/accounts/{account_id}";
    let users = "/v2/accounts/{account_id}/users";
    let user = "/v2/accounts/{account_id}/users/{user_id}";
    let sockets = "/v2/accounts/{account_id}/websockets";
    let socket = "/v2/accounts/{account_id}/websockets/{socket_id}";
    let rows: Vec<(Method, &'static str, Access, Handler)> = vec![
        (PUT, "/v2/user_auth", Open, run!(user_auth::log_in)),
        (PUT, "/v2/api_auth", Open, run!(api_auth::log_in)),
        (GET, "/v2/auth/tokeninfo", Open, run!(token_auth::of_query)),
        (POST, "/v2/auth/tokeninfo", Open, run!(token_auth::of_body)),
        (GET, "/v2/token_auth", Token, run!(token_auth::own)),
        (DELETE, "/v2/token_auth", Token, run!(token_auth::log_out)),
        (GET, account, Account, run!(accounts::get)),
        (PUT, account, Admin, run!(accounts::create_child)),
        (POST, account, Admin, run!(accounts::replace)),
        (PATCH, account, Admin, run!(accounts::change)),
        (DELETE, account, Admin, run!(accounts::delete)),
        (
            POST,
            "/v2/accounts/{account_id}/move",
            Admin,
            run!(tree::move_to),
        ),
        (
            PUT,
            "/v2/accounts/{account_id}/api_key",
            Admin,
            run!(api_auth::new_key),
        ),
        (
            GET,
            "/v2/accounts/{account_id}/children",
            Account,
            run!(tree::children),
        ),
        (
            GET,
            "/v2/accounts/{account_id}/descendants",
            Account,
            run!(tree::descendants),
        ),
        (
            GET,
            "/v2/accounts/{account_id}/parents",
            Account,
            run!(tree::parents),
        ),
        (GET, users, Account, run!(users::list)),
        (PUT, users, Admin, run!(users::create)),
        (GET, user, Account, run!(users::get)),
        // A user may change its own password.
        (POST, user, Account, run!(users::replace)),
        (PATCH, user, Account, run!(users::change)),
        (DELETE, user, Admin, run!(users::delete)),
        (GET, "/v2/websockets", Open, run!(websockets::catalogue)),
        (GET, sockets, Account, run!(sockets::list)),
        (GET, socket, Account, run!(sockets::get)),
        (DELETE, socket, Admin, run!(sockets::close)),
        (PUT, "/v2/events", Superduper, run!(events::publish)),
        (GET, "/v2/openapi.json", Open, run!(documents::openapi)),
        (GET, "/v2/asyncapi.json", Open, run!(documents::asyncapi)),
    ];
    let route = |(method, path, access, handler)| Route {
        method,
        path,
        access,
        handler,
    };
    rows.into_iter().map(route).collect()
}
