//! The store through its public functions, each test on a database of its own.

use super::super::{
    AccountChange, Change, Kind, NewAccount, NewUser, State, UserChange, check_password,
    check_username,
};
use super::*;
use crate::auth::credentials::{Method, credential, same, slow_hash};
use crate::auth::{AccountRecord, Document, UserRecord};
use crate::model::TokenDigest;

fn make_user(
    store: &mut Store,
    account: &AccountRecord,
    name: &str,
    password: &str,
) -> Result<UserRecord, StoreError> {
    let username = check_username(name)?;
    check_password(password)?;
    store.create_user(&NewUser {
        id: None,
        account: &account.id,
        username: &username,
        hashes: &Hashes::new(&username, password, &account.salt),
        priv_level: PrivLevel::User,
        disabled: false,
        document: Document::default(),
    })
}

#[test]
fn first_start_happens_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(folder.path()).expect("opens");
    assert!(store.master().is_err());
    let made = store.first_start().expect("made").expect("the first");
    assert!(store.first_start().expect("fine").is_none());
    let directory = store.directory().expect("loads");
    let master = directory.master().expect("a master");
    assert_eq!(master.id, made.account);
    assert!(master.superduper);
    assert!(directory.newest_key().is_some());
    let user = directory.users_of(&made.account).next().expect("an admin");
    let credential = credential(Method::Sha1, "admin", made.password.expose());
    assert!(same(
        user.hashes.of(Method::Sha1),
        &slow_hash(&credential, &master.salt)
    ));
    drop(store);
    let again = Store::open(folder.path())
        .expect("opens")
        .directory()
        .expect("loads");
    assert_eq!(again.master().map(|m| m.id.clone()), Some(made.account));
}

#[test]
fn files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut store = Store::open(&data).expect("opens");
    store.first_start().expect("made");
    for entry in std::fs::read_dir(&data).expect("a folder") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("metadata").permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{:?}", entry.path());
    }
}

#[test]
fn accounts_form_a_tree() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(folder.path()).expect("opens");
    let master = store.first_start().expect("made").expect("first").account;
    let id = "0".repeat(32);
    let new = NewAccount {
        name: "Acme",
        id: Some(&id),
        realm: Some("Acme.Example.net"),
        ..NewAccount::default()
    };
    let acme = store.create_account(&new).expect("made");
    assert_eq!(acme.realm.as_deref(), Some("acme.example.net"));
    let below = NewAccount {
        name: "Sales",
        parent: Some("Acme"),
        ..NewAccount::default()
    };
    let sales = store.create_account(&below).expect("made");
    assert!(sales.realm.expect("a realm").ends_with(".acme.example.net"));
    let directory = store.directory().expect("loads");
    assert!(directory.is_within(&sales.id, &acme.id) && directory.is_within(&sales.id, &master));
    let error = |new: NewAccount<'_>, store: &mut Store| {
        store.create_account(&new).expect_err("refused").to_string()
    };
    for (new, part) in [
        (
            NewAccount {
                name: "x",
                id: Some(&id),
                ..NewAccount::default()
            },
            "id \"0000",
        ),
        (
            NewAccount {
                name: "x",
                realm: Some("acme.example.net"),
                ..NewAccount::default()
            },
            "taken already",
        ),
        (
            NewAccount {
                name: "x",
                parent: Some("none"),
                ..NewAccount::default()
            },
            "\"none\" is not known",
        ),
        (
            NewAccount {
                name: " ",
                ..NewAccount::default()
            },
            "1 to 128",
        ),
        (
            NewAccount {
                name: "x",
                id: Some("X"),
                ..NewAccount::default()
            },
            "hex digits",
        ),
        (
            NewAccount {
                name: "x",
                realm: Some("a b.c"),
                ..NewAccount::default()
            },
            "are allowed",
        ),
    ] {
        let text = error(new, &mut store);
        assert!(text.contains(part), "{text}");
    }
    store
        .create_account(&NewAccount {
            name: "Acme",
            ..NewAccount::default()
        })
        .expect("a second of that name");
    let text = store.find_account("Acme").expect_err("two").to_string();
    assert!(text.contains("several"), "{text}");
}

#[test]
fn users_are_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(folder.path()).expect("opens");
    store.first_start().expect("made");
    let master = store.master().expect("there");
    let bob = make_user(&mut store, &master, "Bob", "secret-1").expect("made");
    assert_eq!(bob.username, "bob");
    for (name, password, part) in [
        ("BOB", "secret-1", "exists already"),
        ("", "secret-1", "1 to 128"),
        ("a:b", "secret-1", "colon"),
        ("eve", "short", "8 bytes"),
    ] {
        let error = make_user(&mut store, &master, name, password)
            .expect_err(part)
            .to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// Two nodes with databases of their own, the second made as a copy of the first.
fn copies() -> (tempfile::TempDir, Store, tempfile::TempDir, Store) {
    let (here, there) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let mut first = Store::open(here.path()).expect("opens");
    first.first_start().expect("made");
    for name in ["Acme", "Sales"] {
        let new = NewAccount {
            name,
            ..NewAccount::default()
        };
        first.create_account(&new).expect("made");
    }
    let master = first.master().expect("there");
    make_user(&mut first, &master, "bob", "secret-1").expect("made");
    let copy = there.path().join(FILE);
    let query = "VACUUM INTO ?1";
    let name = copy.display().to_string();
    first.connection.execute(query, [name]).expect("copied");
    let second = Store::open(there.path()).expect("opens");
    (here, first, there, second)
}

#[test]
fn news_reach_a_copy_once_and_in_any_order() {
    let (_here, mut first, _there, mut second) = copies();
    let acme = first.find_account("Acme").expect("there");
    let sales = first.find_account("Sales").expect("there");
    let bob = first.users().expect("there").pop().expect("one");
    let enable = |enabled| AccountChange {
        enabled: Some(enabled),
        ..AccountChange::default()
    };
    first.change_account(&acme.id, &enable(false)).expect("ok");
    let old = std::mem::take(&mut first.news);
    first.change_account(&acme.id, &enable(true)).expect("ok");
    first.move_account(&sales.id, &acme.id).expect("ok");
    let login = ("bob".to_owned(), Hashes::default());
    let password = UserChange {
        login: Some(login),
        ..UserChange::default()
    };
    first
        .change_user(&bob.account, &bob.id, &password)
        .expect("ok");
    let digest = TokenDigest([3; 32]);
    first.revoke(&digest, unix_now() + 60).expect("ok");
    let new = first.news.clone();
    let text = serde_json::to_string(&new).expect("JSON");
    assert_eq!(serde_json::from_str::<News>(&text).expect("parses"), new);
    second.learn(&new).expect("learns");
    // What is older comes too late.
    second.learn(&old).expect("learns");
    second.learn(&new).expect("learns");
    assert!(second.find_account("Acme").expect("there").enabled);
    let moved = second.find_account("Sales").expect("there");
    assert_eq!(moved.parent, Some(acme.id.clone()));
    let other = second.users().expect("there").pop().expect("one");
    let here = first.users().expect("there").pop().expect("one");
    assert_ne!(here.signature_secret, bob.signature_secret);
    assert_eq!(
        other.signature_secret, here.signature_secret,
        "tokens of the old password are worth nothing, those of the new one good on both"
    );
    assert_eq!(second.revoked().expect("ok"), new.revoked);
    assert!(second.news.is_empty(), "nothing is told on");
    first.delete_user(&bob.account, &bob.id).expect("ok");
    first.delete_account(&sales.id).expect("ok");
    second
        .learn(&first.all_news().expect("all"))
        .expect("learns");
    assert!(second.find_account("Sales").is_err());
    assert!(
        second
            .users()
            .expect("there")
            .iter()
            .all(|u| u.id != bob.id)
    );
}

#[test]
fn accounts_change_and_go() {
    let (_here, mut store, _there, _) = copies();
    let master = store.master().expect("there");
    let acme = store.find_account("Acme").expect("there");
    let sales = store.find_account("Sales").expect("there");
    store.move_account(&sales.id, &acme.id).expect("moved");
    let rule = |result: Result<AccountRecord, StoreError>| match result {
        Err(StoreError::Refused { field, rule, .. }) => (field, rule),
        other => panic!("{other:?}"),
    };
    for to in [&sales.id, &acme.id] {
        let refused = rule(store.move_account(&acme.id, to));
        assert_eq!(refused, ("to", "forbidden"));
    }
    let refused = rule(store.move_account(&master.id, &acme.id));
    assert_eq!(refused, ("to", "forbidden"));
    let named = |realm: &str| AccountChange {
        name: Some(" New ".into()),
        realm: Some(realm.into()),
        ..AccountChange::default()
    };
    let taken = named("BLACKHOLE.local");
    assert_eq!(
        rule(store.change_account(&acme.id, &taken)),
        ("realm", "unique")
    );
    let changed = store
        .change_account(&acme.id, &named("New.example.net"))
        .expect("changed");
    assert_eq!(changed.name, "New");
    assert_eq!(changed.realm.as_deref(), Some("new.example.net"));
    let children = store.delete_account(&acme.id).expect_err("has a child");
    assert!(children.to_string().contains("below it"), "{children}");
    make_user(&mut store, &sales, "eve", "secret-1").expect("made");
    store.delete_account(&sales.id).expect("gone");
    store.delete_account(&acme.id).expect("gone");
    assert!(store.delete_account(&acme.id).is_err());
    let change = &store.news.changes.last().expect("told");
    assert_eq!((change.kind, change.state.deleted), (Kind::Account, true));
}

#[test]
fn a_database_of_version_1_is_brought_up_to_date() {
    let folder = tempfile::tempdir().expect("a folder");
    let connection = Connection::open(folder.path().join(FILE)).expect("opens");
    connection.execute_batch(SCHEMA[0]).expect("made");
    connection
        .pragma_update(None, "user_version", 1)
        .expect("set");
    drop(connection);
    let mut store = Store::open(folder.path()).expect("opens");
    store.first_start().expect("made");
    assert!(store.stopped_categories("n").expect("none").is_empty());
    let names = ["call".to_owned(), "fax".to_owned()];
    store.set_stopped_categories("n", &names).expect("kept");
    assert_eq!(store.stopped_categories("n").expect("kept"), names);
    let newer = SCHEMA.len() + 1;
    store
        .connection
        .pragma_update(None, "user_version", newer)
        .expect("set");
    let error = Store::open(folder.path()).expect_err("too new").to_string();
    assert!(error.contains("newer version"), "{error}");
}

fn news(changes: Vec<Change>) -> News {
    News {
        changes,
        ..News::default()
    }
}

fn of_account(account: &AccountRecord, at: i64, state: State) -> Change {
    Change {
        kind: Kind::Account,
        id: account.id.to_string(),
        at,
        state,
    }
}

/// Another change of the user comes on top of the new password, while the copy is away.
#[test]
fn a_new_password_is_not_forgotten_over_a_later_change() {
    let (_here, mut first, _there, mut second) = copies();
    let bob = first.users().expect("there").pop().expect("one");
    let password = UserChange {
        login: Some(("bob".into(), Hashes::default())),
        ..UserChange::default()
    };
    let level = UserChange {
        priv_level: Some(PrivLevel::Admin),
        ..UserChange::default()
    };
    for change in [&password, &level] {
        first
            .change_user(&bob.account, &bob.id, change)
            .expect("ok");
    }
    // Also where the copy has a later change of its own.
    second
        .change_user(&bob.account, &bob.id, &level)
        .expect("ok");
    let last = first.all_news().expect("all");
    second.learn(&last).expect("learns");
    let secret = |store: &Store| {
        store
            .users()
            .expect("there")
            .pop()
            .expect("one")
            .signature_secret
    };
    assert_ne!(secret(&second), bob.signature_secret);
    assert_eq!(secret(&second), secret(&first));
}

#[test]
fn news_make_no_loop_and_wait_for_what_has_to_come_first() {
    let (_here, first, _there, mut second) = copies();
    let master = first.master().expect("there");
    let acme = first.find_account("Acme").expect("there");
    let sales = first.find_account("Sales").expect("there");
    second.move_account(&acme.id, &sales.id).expect("moved");
    let now = crate::model::clock::unix_millis();
    let under = |parent: &str| State {
        enabled: true,
        parent: Some(parent.to_owned()),
        ..State::default()
    };
    // Each below the other, as two nodes apart may have decided.
    let change = of_account(&sales, now + 1000, under(acme.id.as_str()));
    second.learn(&news(vec![change])).expect("learns");
    let directory = second.directory().expect("loads");
    assert_eq!(directory.descendants(&master.id).len(), 2);
    let loser = directory.account(&sales.id).expect("there");
    assert!(loser.parent == Some(master.id.clone()) && !loser.enabled);
    // A parent that is not known, likewise.
    let nowhere = of_account(&acme, now + 1000, under(&"7".repeat(32)));
    second.learn(&news(vec![nowhere])).expect("learns");
    assert!(!second.find_account("Acme").expect("there").enabled);
    // It heals with what comes later.
    let changes = vec![
        of_account(&sales, now + 2000, under(master.id.as_str())),
        of_account(&acme, now + 2000, under(sales.id.as_str())),
    ];
    second.learn(&news(changes)).expect("learns");
    assert!(second.find_account("Acme").expect("there").enabled);
    // Deleted from the top, in one message.
    let gone = State {
        deleted: true,
        ..State::default()
    };
    let changes = [&sales, &acme].map(|account| of_account(account, now + 3000, gone.clone()));
    second.learn(&news(changes.into())).expect("learns");
    let directory = second.directory().expect("loads");
    assert!(directory.descendants(&master.id).is_empty());
    assert!(directory.is_gone(acme.id.as_str()) && !directory.is_gone(master.id.as_str()));
    // The master account is nobody's to take away, and no clock may be far ahead.
    let master_gone = of_account(&master, now + 3000, gone.clone());
    let late = i64::MAX;
    let of_the_future = Change {
        kind: Kind::User,
        id: second.users().expect("there")[0].id.clone(),
        at: late,
        state: gone,
    };
    second
        .learn(&news(vec![master_gone, of_the_future]))
        .expect("learns");
    assert!(second.master().expect("there").enabled);
    assert!(!second.users().expect("there").is_empty());
    // An id that is used again is alive again, also for those who know that it was deleted.
    let again = NewAccount {
        name: "Acme",
        id: Some(acme.id.as_str()),
        ..NewAccount::default()
    };
    second.create_account(&again).expect("made");
    assert!(!second.directory().expect("loads").is_gone(acme.id.as_str()));
}
