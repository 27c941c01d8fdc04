//! Tokens through the whole check: signature, expiry, identity, what is disabled.

use std::path::Path;

use jsonwebtoken::{EncodingKey, Header};

use super::super::credentials::Hashes;
use super::super::directory::{Document, PrivLevel, UserRecord};
use super::super::issuer::IssuerSettings;
use super::super::token::tests::{EXPIRES, TOKEN};
use super::*;
use crate::model::Secret;

const ACCOUNT: &str = "aa11bb22cc33dd44ee55ff6600112233";
const USER: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

fn account(enabled: bool) -> AccountRecord {
    AccountRecord {
        id: AccountId::parse(ACCOUNT).expect("an id"),
        name: "acme".into(),
        realm: None,
        parent: None,
        enabled,
        superduper: false,
        signature_secret: Secret::new("2".repeat(32)),
        salt: [0; 16],
        api_key: None,
        document: Document::default(),
        created: 0,
    }
}

fn user(secret: &str, enabled: bool) -> UserRecord {
    UserRecord {
        id: USER.into(),
        account: AccountId::parse(ACCOUNT).expect("an id"),
        username: "bob".into(),
        priv_level: PrivLevel::User,
        enabled,
        signature_secret: Secret::new(secret),
        hashes: Hashes::default(),
        document: Document::default(),
        created: 0,
    }
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn directory(account: AccountRecord, user: UserRecord) -> Directory {
    let node = Secret::new("fedcba9876543210fedcba9876543210");
    Directory::new(vec![account], vec![user], vec![], node, String::new())
}

fn issuer(name: &str, algorithm: &str, files: [(&str, Option<&Path>); 3]) -> IssuerSettings {
    let file = |wanted: &str| {
        files
            .iter()
            .find(|(kind, _)| *kind == wanted)
            .and_then(|(_, path)| path.map(Path::to_owned))
    };
    IssuerSettings {
        name: name.into(),
        algorithms: vec![algorithm.into()],
        key: file("key"),
        jwks: file("jwks"),
        secret: file("secret"),
        identity_sig: None,
        superduper: false,
    }
}

/// An authority that trusts the key of the vectors as `kazoo`.
fn authority(directory: Directory) -> Authority {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/token");
    let path = Path::new("public.pem");
    let settings = issuer(
        KAZOO,
        "RS256",
        [("key", Some(path)), ("jwks", None), ("secret", None)],
    );
    let trusted = TrustedIssuer::load(&settings, &fixtures).expect("a key");
    Authority::new(Arc::new(Live::new(directory)), vec![trusted])
}

fn vector() -> Token {
    Token::new(TOKEN.trim())
}

#[test]
fn the_vectors_of_chapter_i() {
    let authority = authority(directory(account(true), user(SECRET, true)));
    for _cached in 0..2 {
        let identity = authority.verify(&vector(), EXPIRES - 1).expect("good");
        assert_eq!(identity.account.as_str(), ACCOUNT);
        assert_eq!(identity.owner.as_deref(), Some(USER));
        assert_eq!(identity.expires_at, Some(EXPIRES));
        assert_eq!(
            authority.verify(&vector(), EXPIRES),
            Err(TokenError::Expired)
        );
    }
}

#[test]
fn a_new_secret_ends_all_tokens_even_cached_ones() {
    let authority = authority(directory(account(true), user(SECRET, true)));
    assert!(authority.verify(&vector(), 0).is_ok());
    let changes: [(AccountRecord, UserRecord, TokenError); 3] = [
        (
            account(true),
            user(&"0".repeat(32), true),
            TokenError::BadIdentity,
        ),
        (account(false), user(SECRET, true), TokenError::Disabled),
        (account(true), user(SECRET, false), TokenError::Disabled),
    ];
    for (account, user, expected) in changes {
        authority.live().replace(directory(account, user));
        assert_eq!(authority.verify(&vector(), 0), Err(expected));
    }
    let nobody = Directory::new(vec![], vec![], vec![], Secret::new(""), String::new());
    authority.live().replace(nobody);
    assert_eq!(
        authority.verify(&vector(), 0),
        Err(TokenError::UnknownIdentity)
    );
}

#[test]
fn a_revoked_token_is_found_by_another_look() {
    let authority = authority(directory(account(true), user(SECRET, true)));
    let identity = authority.verify(&vector(), 0).expect("good");
    assert_eq!(authority.look_again(&identity, 0), Ok(identity.clone()));
    let before = authority.live().generation();
    authority
        .live()
        .revoke([(identity.grant.digest, EXPIRES)], 0);
    assert!(authority.live().generation() > before);
    assert_eq!(authority.look_again(&identity, 0), Err(TokenError::Revoked));
    assert_eq!(authority.verify(&vector(), 0), Err(TokenError::Revoked));
    // What has expired is not kept.
    let other = (crate::model::TokenDigest([7; 32]), EXPIRES + 9);
    authority.live().revoke([other], EXPIRES);
    assert!(!authority.live().is_revoked(&identity.grant.digest));
    assert!(authority.live().is_revoked(&other.0));
}

/// Of another issuer, whose users need not be known here: who was deleted stays out all the same, and
/// nobody's level is another account's.
#[test]
fn the_deleted_stay_out() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/token");
    let path = Path::new("public.pem");
    let files = [("key", Some(path)), ("jwks", None), ("secret", None)];
    let settings = IssuerSettings {
        identity_sig: Some(false),
        ..issuer(KAZOO, "RS256", files)
    };
    let trusted = TrustedIssuer::load(&settings, &fixtures).expect("a key");
    let nobody = || Directory::new(vec![], vec![], vec![], Secret::new(""), String::new());
    let authority = Authority::new(Arc::new(Live::new(nobody())), vec![trusted]);
    assert!(authority.verify(&vector(), 0).is_ok());
    for gone in [ACCOUNT, USER] {
        let gone = [gone.to_owned()].into();
        authority.live().replace(nobody().without(gone));
        let refused = authority.verify(&vector(), 0);
        assert_eq!(refused, Err(TokenError::UnknownIdentity));
    }
    let other = AccountId::parse(&"7".repeat(32)).expect("an id");
    let directory = directory(account(true), user(SECRET, true));
    assert!(directory.user_of(&other, USER).is_none());
}

#[test]
fn an_issuer_may_not_speak_for_superduper_admins_unless_allowed() {
    let master = AccountRecord {
        superduper: true,
        ..account(true)
    };
    let authority = authority(directory(master, user(SECRET, true)));
    assert_eq!(authority.verify(&vector(), 0), Err(TokenError::Superduper));
}

#[test]
fn a_bad_signature_is_told_before_expiry() {
    let authority = authority(directory(account(true), user(SECRET, true)));
    let (rest, _) = TOKEN.trim().rsplit_once('.').expect("three parts");
    let forged = Token::new(format!("{rest}.{}", "A".repeat(342)));
    assert_eq!(
        authority.verify(&forged, EXPIRES),
        Err(TokenError::BadSignature)
    );
}

fn hs256(secret: &[u8], kid: Option<&str>, claims: serde_json::Value) -> Token {
    let header = Header {
        kid: kid.map(str::to_owned),
        ..Header::new(Algorithm::HS256)
    };
    let key = EncodingKey::from_secret(secret);
    Token::new(jsonwebtoken::encode(&header, &claims, &key).expect("a token"))
}

#[test]
fn other_issuers_by_settings_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = b"a shared secret of thirty-two bytes or more";
    std::fs::write(folder.path().join("secret"), secret).expect("written");
    let path = Path::new("secret");
    let settings = issuer(
        "desk",
        "HS256",
        [("key", None), ("jwks", None), ("secret", Some(path))],
    );
    let trusted = TrustedIssuer::load(&settings, folder.path()).expect("a secret");
    let nobody = Directory::new(
        vec![account(true)],
        vec![],
        vec![],
        Secret::new(""),
        String::new(),
    );
    let authority = Authority::new(Arc::new(Live::new(nobody)), vec![trusted]);
    let claims = |iss: &str| serde_json::json!({"iss":iss,"account_id":ACCOUNT,"exp":100});
    let identity = authority
        .verify(&hs256(secret, None, claims("desk")), 99)
        .expect("good");
    assert!(!identity.superduper);
    for (token, expected) in [
        (
            hs256(secret, None, claims("https://evil.example")),
            TokenError::Algorithm,
        ),
        (hs256(secret, None, claims(KAZOO)), TokenError::Algorithm),
        (
            hs256(b"another", None, claims("desk")),
            TokenError::BadSignature,
        ),
        (
            hs256(secret, None, serde_json::json!({"iss":"desk","exp":100})),
            TokenError::NoAccount,
        ),
        (vector(), TokenError::UnknownKey),
    ] {
        assert_eq!(authority.verify(&token, 99), Err(expected));
    }
}

#[test]
fn wrong_issuer_settings_say_why() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("short"), "short").expect("written");
    let (short, absent) = (Some(Path::new("short")), Some(Path::new("absent")));
    for (settings, part) in [
        (
            issuer(
                "x",
                "RS512",
                [("key", short), ("jwks", None), ("secret", None)],
            ),
            "not one of RS256",
        ),
        (
            issuer(
                "x",
                "RS256",
                [("key", None), ("jwks", None), ("secret", None)],
            ),
            "exactly one of",
        ),
        (
            issuer(
                "x",
                "RS256",
                [("key", absent), ("jwks", None), ("secret", None)],
            ),
            "absent",
        ),
        (
            issuer(
                "x",
                "RS256",
                [("key", short), ("jwks", None), ("secret", None)],
            ),
            "holds no key",
        ),
        (
            issuer(
                "x",
                "HS256",
                [("key", None), ("jwks", None), ("secret", short)],
            ),
            "32 bytes",
        ),
        (
            issuer(
                "x",
                "HS256",
                [("key", short), ("jwks", None), ("secret", None)],
            ),
            "exactly one of",
        ),
    ] {
        let error = TrustedIssuer::load(&settings, folder.path())
            .expect_err(part)
            .to_string();
        assert!(error.contains(part), "{error}");
    }
}
