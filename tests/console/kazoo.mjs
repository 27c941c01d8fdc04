// What Kazoo publishes, as the tests need it: events in Kazoo's own words.

let made = 0;

/** A call id that no other test has. */
export const callId = (name = "call") => `${name}-${process.pid}-${++made}`;

const escaped = (word) => word.replaceAll("%", "%25").replaceAll(".", "%2E").replaceAll("@", "%40");

/** `account`, `call` and what differs from an ordinary channel event. */
export function channel(name, account, call, fields = {}) {
  return {
    exchange: "callevt",
    routing_key: `call.${name}.${escaped(call)}`,
    payload: {
      "Event-Category": "call_event",
      "Event-Name": name,
      "Call-ID": call,
      "Call-Direction": "inbound",
      "Caller-ID-Name": "Dana Fox",
      "Caller-ID-Number": "+14155550123",
      "Callee-ID-Name": "Sales Desk",
      "Callee-ID-Number": "1010",
      To: `1010@${account.realm}`,
      From: `+14155550123@${account.realm}`,
      Request: `1010@${account.realm}`,
      Timestamp: Math.floor(Date.now() / 1000) + 62167219200,
      "Custom-Channel-Vars": { "Account-ID": account.id, "Account-Realm": account.realm },
      ...fields,
    },
  };
}

/** An event of a conference and, but for its own beginning and end, of one member. */
export function conference(event, account, id, member = {}) {
  const call = member["Call-ID"] ?? "none";
  return {
    exchange: "conference",
    routing_key: `conference.event.${event}.${account.id}.${id}.${escaped(call)}`,
    payload: {
      "Event-Category": "conference",
      "Event-Name": "event",
      Event: event,
      "Conference-ID": id,
      "Account-ID": account.id,
      "Custom-Channel-Vars": { "Account-ID": account.id },
      ...member,
    },
  };
}

export function fax(account, job, fields = {}) {
  return {
    exchange: "faxes",
    routing_key: `fax.status.${account.id}.${job}`,
    payload: {
      "Event-Category": "fax",
      "Event-Name": "status",
      "Account-ID": account.id,
      "Job-ID": job,
      Direction: "outgoing",
      "Fax-State": "send",
      Status: "Sent Page 1 of 3",
      "Fax-Info": { "Fax-Transferred-Pages": 1, "Fax-Total-Pages": 3, "Fax-Remote-Station-ID": "+14155550177" },
      ...fields,
    },
  };
}

/** `state`: early, confirmed or terminated. */
export function presence(account, user, state, call = callId("presence")) {
  return {
    exchange: "presence",
    routing_key: `update.${escaped(account.realm)}.${escaped(call)}`,
    payload: {
      "Event-Category": "presence",
      "Event-Name": "update",
      "Presence-ID": `${user}@${account.realm}`,
      "From-User": user,
      "From-Realm": account.realm,
      From: `sip:${user}@${account.realm}`,
      To: `sip:${user}@${account.realm}`,
      "To-User": user,
      "To-Realm": account.realm,
      State: state,
      "Call-ID": call,
    },
  };
}

export function waiting(account, user, fresh) {
  return {
    exchange: "presence",
    routing_key: `mwi_updates.${escaped(account.realm)}.${escaped(user)}`,
    payload: {
      "Event-Category": "presence",
      "Event-Name": "mwi_update",
      "Presence-ID": `${user}@${account.realm}`,
      "From-User": user,
      "From-Realm": account.realm,
      "To-User": user,
      "To-Realm": account.realm,
      "Messages-Waiting": fresh ? "yes" : "no",
      "Messages-New": fresh,
      "Messages-Saved": 0,
    },
  };
}

export function document(action, account, type, id) {
  const word = account.id;
  const database = `account%2F${word.slice(0, 2)}%2F${word.slice(2, 4)}%2F${word.slice(4)}`;
  return {
    exchange: "configuration",
    routing_key: `${action}.${database}.${type}.${id}`,
    payload: {
      "Event-Category": "configuration",
      "Event-Name": action,
      "Account-ID": account.id,
      Database: decodeURIComponent(database),
      Type: type,
      ID: id,
    },
  };
}
