//! Every error that an answer can be: status and `message`, on one page. The OpenAPI document is held
//! against this table.

use http::StatusCode;

/// The table as a type, so that no error is outside of it.
macro_rules! faults {
    ($($status:ident: $($name:ident = $message:literal),+;)+) => {
        /// An error by its status and its `message`, which programs compare.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Fault {
            $($($name),+),+
        }

        impl Fault {
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$($(Self::$name),+),+];

            pub(super) fn status(self) -> StatusCode {
                match self {
                    $($(Self::$name)|+ => StatusCode::$status),+
                }
            }

            pub(super) fn message(self) -> &'static str {
                match self {
                    $($(Self::$name => $message),+),+
                }
            }
        }
    };
}

// Of a token that somebody asks about, Kazoo's names (kazoo-rest.md C.5), and of our own those that
// it has none for, stand beside those of any request.
faults! {
    BAD_REQUEST: Validation = "validation error";
    UNAUTHORIZED:
        InvalidCredentials = "invalid_credentials",
        InvalidJwt = "invalid_jwt",
        AlgorithmNotSupported = "algorithm_not_supported",
        InvalidJwtSignature = "invalid_jwt_signature",
        TokenExpired = "token_expired",
        InvalidIdentitySignature = "invalid_identity_signature",
        InvalidIdentityProvider = "invalid_identity_provider",
        EntityDisabled = "entity_disabled",
        TokenRevoked = "token_revoked";
    FORBIDDEN:
        Forbidden = "forbidden",
        NoAssociatedAccount = "no associated account_id",
        IssuerNotAllowed = "issuer_not_allowed";
    NOT_FOUND:
        NotFound = "not_found",
        BadIdentifier = "bad_identifier",
        NoTokenInParams = "missing token in params",
        NoTokenInRequest = "missing token in request";
    METHOD_NOT_ALLOWED: InvalidMethod = "invalid_method";
    NOT_ACCEPTABLE: NotAcceptable = "not_acceptable";
    REQUEST_TIMEOUT: RequestTimeout = "request_timeout";
    PAYLOAD_TOO_LARGE: TooLarge = "validation error";
    UNSUPPORTED_MEDIA_TYPE: UnsupportedMediaType = "unsupported_media_type";
    TOO_MANY_REQUESTS: TooManyRequests = "too_many_requests";
    INTERNAL_SERVER_ERROR: Unspecified = "unspecified_fault";
    SERVICE_UNAVAILABLE: Unavailable = "service_unavailable";
}
