//! Which accounts an identity may see (kazoo-rest.md D.2; texts of websocket-protocol.md section 5).

use super::directory::Directory;
use crate::catalogue::Account;
use crate::model::{AccountId, Identity, Scope};

/// The account that a subscriber asks for, or the protocol's error text. Its own account and the
/// accounts below; `*` for super-duper admins.
pub fn subscriber(
    directory: &Directory,
    identity: &Identity,
    wanted: &str,
) -> Result<Account, String> {
    if wanted == "*" {
        return if identity.superduper {
            Ok(Account {
                scope: Scope::All,
                realm: None,
            })
        } else {
            Err("unauthorized wildcard account id".into())
        };
    }
    AccountId::parse(wanted)
        .filter(|account| directory.is_within(account, &identity.account))
        .map(|account| Account {
            realm: directory
                .account(&account)
                .and_then(|found| found.realm.clone()),
            scope: Scope::One(account),
        })
        .ok_or_else(|| "unauthorized account id".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::directory::{AccountRecord, Document};
    use crate::model::Secret;

    fn id(digit: char) -> AccountId {
        AccountId::parse(&digit.to_string().repeat(32)).expect("an id")
    }

    fn directory() -> Directory {
        let account = |own: char, parent: Option<char>| AccountRecord {
            id: id(own),
            name: own.into(),
            realm: Some(format!("{own}.example.net")),
            parent: parent.map(id),
            enabled: true,
            superduper: own == '0',
            signature_secret: Secret::new(""),
            salt: [0; 16],
            api_key: None,
            document: Document::default(),
            created: 0,
        };
        let tree = vec![
            account('0', None),
            account('1', Some('0')),
            account('2', Some('1')),
            account('3', Some('0')),
            // Data of another making may hold a loop.
            account('8', Some('9')),
            account('9', Some('8')),
        ];
        Directory::new(tree, vec![], vec![], Secret::new(""), String::new())
    }

    #[test]
    fn own_account_and_those_below() {
        let directory = directory();
        let identity = |own: char| Identity {
            account: id(own),
            owner: None,
            expires_at: None,
            superduper: own == '0',
            grant: Default::default(),
        };
        let may = |own: char, wanted: char| {
            subscriber(&directory, &identity(own), id(wanted).as_str()).is_ok()
        };
        assert!(may('0', '2') && may('1', '1') && may('1', '2'));
        assert!(
            !may('1', '0') && !may('2', '1') && !may('3', '2') && !may('1', '8') && !may('0', '7')
        );
        assert!(may('7', '7'), "an account that only its issuer knows");
        let ask = |own: char, wanted: &str| subscriber(&directory, &identity(own), wanted);
        assert_eq!(
            ask('1', "*"),
            Err("unauthorized wildcard account id".into())
        );
        assert_eq!(ask('0', "*").map(|account| account.scope), Ok(Scope::All));
        assert_eq!(ask('1', "x"), Err("unauthorized account id".into()));
        let realm = ask('1', id('2').as_str()).map(|account| account.realm);
        assert_eq!(realm, Ok(Some("2.example.net".into())));
    }
}
