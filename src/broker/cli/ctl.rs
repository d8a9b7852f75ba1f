//! `fairlead ctl`: the HTTP management API of a running broker, in RabbitMQ's shape, from the command line.

use super::api::{Api, CtlError, DEFAULT_URL, segment};
use super::table;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

/// Ask or tell a running broker.
#[derive(Args, Debug)]
pub struct Ctl {
    /// Where the broker listens for HTTP
    #[arg(
        long,
        value_name = "URL",
        default_value = DEFAULT_URL,
        env = "FAIRLEAD_URL",
        global = true
    )]
    url: String,
    /// Print the broker's JSON instead of a table or a sentence
    #[arg(long, global = true)]
    json: bool,
    /// What to do.
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List what the broker has
    List {
        /// Of what
        kind: Kind,
        /// Only of this virtual host
        #[arg(long)]
        vhost: Option<String>,
    },
    /// Drop the ready messages of a queue
    Purge {
        /// Its name
        queue: String,
        /// Its virtual host
        #[arg(long, default_value = "/")]
        vhost: String,
    },
    /// Close a connection
    Close {
        /// Its name, as `list connections` shows it
        connection: String,
        /// What its client is told with the code 320, and the log says [default: Closed via management]
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Queues,
    Exchanges,
    Bindings,
    Connections,
    Channels,
    Consumers,
    Vhosts,
}

impl Kind {
    /// Its name in the API's addresses.
    fn name(self) -> &'static str {
        match self {
            Kind::Queues => "queues",
            Kind::Exchanges => "exchanges",
            Kind::Bindings => "bindings",
            Kind::Connections => "connections",
            Kind::Channels => "channels",
            Kind::Consumers => "consumers",
            Kind::Vhosts => "vhosts",
        }
    }

    /// Their address in the API, all of them or those of a virtual host.
    fn path(self, vhost: Option<&str>) -> String {
        let name = self.name();
        let Some(vhost) = vhost.map(segment) else { return name.to_owned() };
        match self {
            Kind::Queues | Kind::Exchanges | Kind::Bindings | Kind::Consumers => format!("{name}/{vhost}"),
            Kind::Connections | Kind::Channels => format!("vhosts/{vhost}/{name}"),
            Kind::Vhosts => format!("vhosts/{vhost}"),
        }
    }

    /// The members that a table shows; a dot leads into an object.
    fn columns(self) -> &'static [&'static str] {
        match self {
            Kind::Queues => &[
                "vhost",
                "name",
                "type",
                "durable",
                "messages_ready",
                "messages_unacknowledged",
                "consumers",
                "memory",
                "policy",
            ],
            Kind::Exchanges => &["vhost", "name", "type", "durable", "auto_delete", "internal", "policy"],
            Kind::Bindings => {
                &["vhost", "source", "destination_type", "destination", "routing_key", "arguments"]
            }
            Kind::Connections => {
                &["name", "user", "vhost", "protocol", "state", "channels", "recv_oct", "send_oct"]
            }
            Kind::Channels => &[
                "name",
                "user",
                "vhost",
                "consumer_count",
                "messages_unacknowledged",
                "prefetch_count",
                "confirm",
                "transactional",
            ],
            Kind::Consumers => &[
                "queue.vhost",
                "queue.name",
                "channel_details.name",
                "consumer_tag",
                "ack_required",
                "prefetch_count",
                "exclusive",
                "active",
            ],
            Kind::Vhosts => &["name", "messages", "messages_ready", "messages_unacknowledged"],
        }
    }
}

impl Ctl {
    /// Does it.
    ///
    /// # Errors
    /// The broker does not answer, refuses, or is none.
    pub fn run(self) -> Result<String, CtlError> {
        let api = Api::new(&self.url);
        match &self.action {
            Action::List { kind, vhost } => {
                let rows = api.get(&kind.path(vhost.as_deref()))?;
                Ok(if self.json {
                    format!("{rows:#}\n")
                } else {
                    table::render(kind.columns(), rows_of(&rows))
                })
            }
            Action::Purge { queue, vhost } => {
                let answer = api.delete(&format!("queues/{}/{}/contents", segment(vhost), segment(queue)))?;
                let messages = match answer["messages"].as_u64() {
                    Some(1) => "1 message".to_owned(),
                    Some(messages) => format!("{messages} messages"),
                    None => return Err(api.unexpected("a number of messages was expected")),
                };
                let done = format!("purged {messages} from queue {queue:?} in virtual host {vhost:?}");
                Ok(self.done(&answer, &done))
            }
            Action::Close { connection, reason } => {
                let reason = reason.as_ref().map(|reason| format!("?reason={}", segment(reason)));
                api.delete(&format!("connections/{}{}", segment(connection), reason.unwrap_or_default()))?;
                Ok(self.done(&json!({}), &format!("closed connection {connection:?}")))
            }
        }
    }

    fn done(&self, answer: &Value, what: &str) -> String {
        if self.json { format!("{answer}\n") } else { format!("{what}\n") }
    }
}

/// The objects of a list, or the one object that was asked for.
fn rows_of(answer: &Value) -> &[Value] {
    answer.as_array().map_or(std::slice::from_ref(answer), Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread;

    /// Runs `action` against a server that gives one answer; returns the result and the request line.
    fn against(status: &str, body: &str, json: bool, action: Action) -> (Result<String, CtlError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        let server = thread::spawn(move || {
            let mut reader = BufReader::new(listener.accept().unwrap().0);
            let request: Vec<String> =
                reader.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            request[0].clone()
        });
        let result = Ctl { url, json, action }.run();
        (result, server.join().unwrap())
    }

    fn all(kind: Kind) -> Action {
        Action::List { kind, vhost: None }
    }

    #[test]
    fn a_list_of_a_virtual_host_has_an_address_of_its_own() {
        for (kind, path) in [
            (Kind::Queues, "queues/%2F"),
            (Kind::Consumers, "consumers/%2F"),
            (Kind::Connections, "vhosts/%2F/connections"),
            (Kind::Vhosts, "vhosts/%2F"),
        ] {
            assert_eq!(kind.path(Some("/")), path);
            assert_eq!(kind.path(None), kind.name());
        }
    }

    #[test]
    fn a_list_is_a_table_or_json() {
        let body = r#"[{"name":"stock","vhost":"/","messages_ready":5,"durable":true,"policy":null}]"#;
        let (table, request) = against("200 OK", body, false, all(Kind::Queues));
        assert_eq!(request, "GET /api/queues HTTP/1.1");
        let table = table.unwrap();
        let words: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(words, ["/", "stock", "-", "true", "5", "-", "-", "-", "-"]);
        let (json, _) = against("200 OK", body, true, all(Kind::Queues));
        assert_eq!(serde_json::from_str::<Value>(&json.unwrap()).unwrap()[0]["name"], "stock");
    }

    #[test]
    fn names_are_one_segment_of_the_address() {
        let purge = Action::Purge { queue: "a/b c".to_owned(), vhost: "/".to_owned() };
        let (done, request) = against("200 OK", r#"{"messages":3}"#, false, purge);
        assert_eq!(request, "DELETE /api/queues/%2F/a%2Fb%20c/contents HTTP/1.1");
        assert_eq!(done.unwrap(), "purged 3 messages from queue \"a/b c\" in virtual host \"/\"\n");
        let close = Action::Close { connection: "1 -> 2".to_owned(), reason: Some("b&y".to_owned()) };
        let (_, request) = against("204 No Content", "", false, close);
        assert_eq!(request, "DELETE /api/connections/1%20%2D%3E%202?reason=b%26y HTTP/1.1");
    }

    #[test]
    fn a_refusal_is_told_in_the_brokers_words() {
        let purge = Action::Purge { queue: "q".to_owned(), vhost: "/".to_owned() };
        let body = r#"{"error":"Object Not Found","reason":"no queue 'q' in virtual host '/'"}"#;
        let (refused, _) = against("404 Not Found", body, false, purge);
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .ends_with("contents: 404 Not Found: no queue 'q' in virtual host '/'")
        );
    }

    #[test]
    fn another_server_and_none_at_all() {
        let (other, _) = against("200 OK", "<html>", false, all(Kind::Queues));
        assert!(matches!(other, Err(CtlError::Unexpected { .. })), "{other:?}");
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let nobody = Ctl { url: format!("http://{free}"), json: false, action: all(Kind::Queues) };
        assert!(matches!(nobody.run(), Err(CtlError::Unreachable { .. })));
    }
}
