//! Who telephones: companies, their people, and the world outside. Realms and numbers are of those
//! kept free for examples and films.

use super::rng::Rng;

/// A company with an account.
#[derive(Debug)]
pub(super) struct Company {
    pub(super) name: &'static str,
    pub(super) realm: &'static str,
    /// The company that it is a part of.
    pub(super) parent: Option<&'static str>,
    /// Its number, and what its people show when they call out.
    pub(super) number: &'static str,
    /// First extension of its people.
    pub(super) extensions: u32,
    /// Its part of all calls.
    pub(super) weight: u64,
    pub(super) people: &'static [&'static str],
    /// Where callers wait until somebody is free.
    pub(super) queue: &'static str,
    /// Whose telephones ring together.
    pub(super) group: &'static str,
    pub(super) rooms: [&'static str; 2],
}

/// A company stands after the one that it is a part of.
pub(super) const COMPANIES: [Company; 4] = [
    Company {
        name: "Northwind Travel",
        realm: "northwind.demo.example",
        parent: None,
        number: "+442079460100",
        extensions: 201,
        weight: 30,
        people: &[
            "Anna Keller",
            "Ben Whitaker",
            "Chiara Russo",
            "David Okafor",
            "Elena Petrova",
            "Farid Haddad",
            "Grace Chen",
            "Hugo Lindqvist",
            "Isla Morgan",
        ],
        queue: "Reservations",
        group: "Travel Desk",
        rooms: ["Monday Planning", "Airline Partners"],
    },
    Company {
        name: "Harbour Clinic",
        realm: "harbour.demo.example",
        parent: None,
        number: "+441134960200",
        extensions: 301,
        weight: 26,
        people: &[
            "Amira Said",
            "Charlotte Webb",
            "Daniel Novak",
            "Fiona Gallagher",
            "Henrik Olsen",
            "Ingrid Falk",
            "Julia Santos",
            "Marcus Bell",
            "Priya Raman",
        ],
        queue: "Appointments",
        group: "Front Desk",
        rooms: ["Ward Round", "Board Call"],
    },
    Company {
        name: "Kestrel Logistics",
        realm: "kestrel.demo.example",
        parent: None,
        number: "+12025550140",
        extensions: 401,
        weight: 28,
        people: &[
            "Alan Brooks",
            "Bianca Costa",
            "Carl Jensen",
            "Deborah Miles",
            "Emeka Nwosu",
            "Frida Holm",
            "George Tan",
            "Hannah Weiss",
            "Ivan Marek",
        ],
        queue: "Dispatch",
        group: "Warehouse",
        rooms: ["Morning Stand-up", "Carrier Review"],
    },
    Company {
        name: "Kestrel Leeds",
        realm: "leeds.kestrel.demo.example",
        parent: Some("Kestrel Logistics"),
        number: "+441134960340",
        extensions: 501,
        weight: 16,
        people: &[
            "Aisha Malik",
            "Callum Reid",
            "Eve Thornton",
            "Jonas Berg",
            "Katie Doyle",
            "Liam Foster",
            "Noor Rahman",
        ],
        queue: "Loading Bay",
        group: "Yard Office",
        rooms: ["Shift Handover", "Depot Call"],
    },
];

const FIRST: [&str; 40] = [
    "Adam", "Alice", "Andre", "Beth", "Bruno", "Carmen", "Chloe", "Dana", "Diego", "Edith", "Emil",
    "Erik", "Fatima", "Gavin", "Helen", "Ines", "Jack", "Joan", "Karim", "Laura", "Leo", "Lucia",
    "Maja", "Martin", "Mei", "Nadia", "Nils", "Olga", "Oscar", "Paula", "Quentin", "Rosa", "Samir",
    "Sofia", "Tom", "Uma", "Viktor", "Wanda", "Yusuf", "Zoë",
];

const LAST: [&str; 40] = [
    "Adler", "Almeida", "Baker", "Banerjee", "Carver", "Castillo", "Dubois", "Edwards", "Eriksen",
    "Fischer", "Fox", "Garcia", "Grant", "Hoffmann", "Hughes", "Ibrahim", "Jansen", "Kaya",
    "Kowalski", "Lambert", "Lopez", "Martins", "Moreau", "Murphy", "Nakamura", "Nguyen", "O'Neill",
    "Park", "Quinn", "Rossi", "Schmidt", "Singh", "Torres", "Urban", "Vogel", "Walsh", "Xu",
    "Yilmaz", "Young", "Zimmer",
];

/// Who calls as a company, with its name in the display.
const FIRMS: [&str; 12] = [
    "Alder & Sons",
    "Bluebird Hotels",
    "City Library",
    "Delta Parcel",
    "Fairway Cars",
    "Greenfield School",
    "Hillside Pharmacy",
    "Ironbridge Steel",
    "Juniper Foods",
    "Lakeside Dental",
    "Metro Taxis",
    "Orchard Bank",
];

/// A name for somebody.
pub(super) fn name(rng: &mut Rng) -> String {
    format!("{} {}", rng.pick(&FIRST), rng.pick(&LAST))
}

/// Somebody outside: name and number.
pub(super) fn outsider(rng: &mut Rng) -> (String, String) {
    let number = match rng.index(4) {
        0 => format!("+4420794600{:02}", rng.between(0, 100)),
        1 => format!("+4477009001{:02}", rng.between(0, 100)),
        2 => format!(
            "+1{}55501{:02}",
            rng.pick(&["202", "312", "415", "617"]),
            rng.between(0, 100)
        ),
        _ => format!("+493023125{:03}", rng.between(0, 1000)),
    };
    let name = match rng.index(10) {
        // Many show no name.
        0 | 1 => number.clone(),
        2 | 3 => (*rng.pick(&FIRMS)).to_owned(),
        _ => name(rng),
    };
    (name, number)
}

/// `anna.keller`
pub(super) fn username(name: &str) -> String {
    name.to_lowercase().replace(' ', ".")
}
