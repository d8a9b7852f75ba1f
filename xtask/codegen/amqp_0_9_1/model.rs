//! The 0-9-1 XML as data: constants, classes, methods, fields. Anything the generator would have to guess is an
//! error with file and line.

use std::path::Path;

use roxmltree::{Document, Node};

use super::super::Error;

/// All that the XML inputs say together.
#[derive(Default)]
pub struct Spec {
    pub constants: Vec<Constant>,
    pub classes: Vec<Class>,
}

pub struct Constant {
    pub name: String,
    pub value: u16,
    pub kind: ConstantKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ConstantKind {
    Plain,
    /// A reply code that closes the channel.
    SoftError,
    /// A reply code that closes the connection.
    HardError,
}

pub struct Class {
    pub name: String,
    pub id: u16,
    /// Content properties, in the order of their flags from the highest bit.
    pub properties: Vec<Field>,
    pub methods: Vec<Method>,
}

pub struct Method {
    pub name: String,
    pub id: u16,
    pub has_content: bool,
    /// True if a server must understand it, so that a client may send it.
    pub to_server: bool,
    /// True if a client must understand it.
    pub to_client: bool,
    pub fields: Vec<Field>,
}

pub struct Field {
    pub name: String,
    pub domain: String,
    pub wire_type: WireType,
    /// Sent as zero and ignored when it comes.
    pub reserved: bool,
}

/// The elementary domains of clause 4.2.5.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum WireType {
    Bit,
    Octet,
    Short,
    Long,
    Longlong,
    Shortstr,
    Longstr,
    Timestamp,
    Table,
}

impl WireType {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "bit" => Self::Bit,
            "octet" => Self::Octet,
            "short" => Self::Short,
            "long" => Self::Long,
            "longlong" => Self::Longlong,
            "shortstr" => Self::Shortstr,
            "longstr" => Self::Longstr,
            "timestamp" => Self::Timestamp,
            "table" => Self::Table,
            _ => return None,
        })
    }
}

/// Reads the files in order; a later one adds to what an earlier one has, and uses its domains.
pub fn read(paths: &[&Path]) -> Result<Spec, Error> {
    let mut spec = Spec::default();
    let mut domains = Vec::new();
    for path in paths {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
        add(path, &text, &mut spec, &mut domains)?;
    }
    Ok(spec)
}

/// Adds what `text`, the content of `path`, says.
fn add(path: &Path, text: &str, spec: &mut Spec, domains: &mut Vec<(String, WireType)>) -> Result<(), Error> {
    let document = Document::parse(text).map_err(|source| Error::Xml { path: path.to_path_buf(), source })?;
    let input = Input { path, document: &document };
    input.add_domains(domains)?;
    input.add_constants(spec)?;
    input.add_classes(spec, domains)
}

struct Input<'i> {
    path: &'i Path,
    document: &'i Document<'i>,
}

impl<'i> Input<'i> {
    fn fault(&self, node: Node<'_, '_>, fault: impl Into<String>) -> Error {
        let line = self.document.text_pos_at(node.range().start).row;
        Error::Spec { path: self.path.to_owned(), line, fault: fault.into() }
    }

    fn attribute(&self, node: Node<'i, 'i>, name: &str) -> Result<&'i str, Error> {
        let element = node.tag_name().name();
        node.attribute(name)
            .ok_or_else(|| self.fault(node, format!("<{element}> without attribute `{name}`")))
    }

    fn number(&self, node: Node<'i, 'i>, name: &str) -> Result<u16, Error> {
        let text = self.attribute(node, name)?;
        text.parse().map_err(|_| self.fault(node, format!("`{name}` is `{text}`, expected 0 to 65535")))
    }

    fn add_domains(&self, domains: &mut Vec<(String, WireType)>) -> Result<(), Error> {
        for node in children(self.document.root_element(), "domain") {
            let name = self.attribute(node, "name")?;
            let type_name = self.attribute(node, "type")?;
            let wire_type = WireType::named(type_name)
                .ok_or_else(|| self.fault(node, format!("unknown elementary type `{type_name}`")))?;
            domains.push((name.to_owned(), wire_type));
        }
        Ok(())
    }

    fn add_constants(&self, spec: &mut Spec) -> Result<(), Error> {
        for node in children(self.document.root_element(), "constant") {
            let name = self.attribute(node, "name")?;
            let kind = match node.attribute("class") {
                None => ConstantKind::Plain,
                Some("soft-error") => ConstantKind::SoftError,
                Some("hard-error") => ConstantKind::HardError,
                Some(other) => return Err(self.fault(node, format!("unknown class `{other}` of constant"))),
            };
            if spec.constants.iter().any(|constant| constant.name == name) {
                return Err(self.fault(node, format!("constant `{name}` is there twice")));
            }
            let value = self.number(node, "value")?;
            spec.constants.push(Constant { name: name.to_owned(), value, kind });
        }
        Ok(())
    }

    fn add_classes(&self, spec: &mut Spec, domains: &[(String, WireType)]) -> Result<(), Error> {
        for node in children(self.document.root_element(), "class") {
            let name = self.attribute(node, "name")?;
            let id = self.number(node, "index")?;
            let properties = self.fields(node, domains)?;
            let index = match spec.classes.iter().position(|class| class.name == name) {
                Some(index) if spec.classes[index].id != id || !properties.is_empty() => {
                    return Err(self.fault(node, format!("class `{name}` is there before, and not the same")));
                }
                Some(index) => index,
                None => {
                    let class = Class { name: name.to_owned(), id, properties, methods: Vec::new() };
                    spec.classes.push(class);
                    spec.classes.len() - 1
                }
            };
            self.add_methods(node, &mut spec.classes[index], domains)?;
        }
        Ok(())
    }

    fn add_methods(
        &self,
        node: Node<'i, 'i>,
        class: &mut Class,
        domains: &[(String, WireType)],
    ) -> Result<(), Error> {
        for node in children(node, "method") {
            let name = self.attribute(node, "name")?;
            let id = self.number(node, "index")?;
            if class.methods.iter().any(|method| method.name == name || method.id == id) {
                return Err(
                    self.fault(node, format!("method `{}.{name}` or its index is there twice", class.name))
                );
            }
            let received_by = |peer| children(node, "chassis").any(|c| c.attribute("name") == Some(peer));
            class.methods.push(Method {
                name: name.to_owned(),
                id,
                has_content: node.attribute("content") == Some("1"),
                to_server: received_by("server"),
                to_client: received_by("client"),
                fields: self.fields(node, domains)?,
            });
        }
        Ok(())
    }

    fn fields(&self, node: Node<'i, 'i>, domains: &[(String, WireType)]) -> Result<Vec<Field>, Error> {
        let mut fields = Vec::new();
        for node in children(node, "field") {
            let domain = match node.attribute("domain") {
                Some(domain) => domain,
                None => self.attribute(node, "type")?,
            };
            let wire_type = domains
                .iter()
                .find(|(name, _)| name == domain)
                .map(|(_, wire_type)| *wire_type)
                .ok_or_else(|| self.fault(node, format!("unknown domain `{domain}`")))?;
            fields.push(Field {
                name: self.attribute(node, "name")?.to_owned(),
                domain: domain.to_owned(),
                wire_type,
                reserved: node.attribute("reserved") == Some("1"),
            });
        }
        Ok(fields)
    }
}

fn children<'i>(node: Node<'i, 'i>, name: &'static str) -> impl Iterator<Item = Node<'i, 'i>> {
    node.children().filter(move |child| child.has_tag_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = r#"<amqp>
        <constant name="not-found" value="404" class="soft-error"/>
        <domain name="bit" type="bit"/>
        <domain name="queue-name" type="shortstr"/>
        <class name="queue" index="50">
          <method name="purge" index="30"><chassis name="server"/><field name="queue" domain="queue-name"/></method>
        </class></amqp>"#;

    fn read_both(additions: &str) -> Result<Spec, Error> {
        let (mut spec, mut domains) = (Spec::default(), Vec::new());
        add(Path::new("public.xml"), PUBLIC, &mut spec, &mut domains)?;
        add(Path::new("additions.xml"), additions, &mut spec, &mut domains)?;
        Ok(spec)
    }

    #[test]
    fn additions_join_the_class_of_their_name() {
        let spec = read_both(
            r#"<amqp><class name="queue" index="50">
              <method name="shine" index="99" content="1"><field name="idle" type="bit" reserved="1"/></method>
            </class></amqp>"#,
        )
        .unwrap();
        let [class] = spec.classes.as_slice() else { panic!("{} classes", spec.classes.len()) };
        let [purge, shine] = class.methods.as_slice() else { panic!("{} methods", class.methods.len()) };
        assert!(purge.to_server && !purge.to_client && !purge.has_content);
        assert!(purge.fields[0].wire_type == WireType::Shortstr && !purge.fields[0].reserved);
        assert!(shine.has_content && shine.fields[0].reserved);
    }

    #[test]
    fn faults_have_file_and_line() {
        let check = |additions: &str, expect: &str| {
            let error = read_both(additions).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), Some(expect));
        };
        check(
            "<amqp>\n<constant name=\"not-found\" value=\"404\"/></amqp>",
            "additions.xml:2: constant `not-found` is there twice",
        );
        check(
            "<amqp><constant name=\"big\" value=\"65536\"/></amqp>",
            "additions.xml:1: `value` is `65536`, expected 0 to 65535",
        );
        check(
            "<amqp><constant name=\"odd\" value=\"1\" class=\"mild-error\"/></amqp>",
            "additions.xml:1: unknown class `mild-error` of constant",
        );
        check(
            "<amqp><domain name=\"d\" type=\"word\"/></amqp>",
            "additions.xml:1: unknown elementary type `word`",
        );
        check("<amqp><class name=\"new\"/></amqp>", "additions.xml:1: <class> without attribute `index`");
        check(
            "<amqp><class name=\"queue\" index=\"51\"/></amqp>",
            "additions.xml:1: class `queue` is there before, and not the same",
        );
        check(
            "<amqp><class name=\"queue\" index=\"50\"><method name=\"purge\" index=\"31\"/></class></amqp>",
            "additions.xml:1: method `queue.purge` or its index is there twice",
        );
        check(
            "<amqp><class name=\"new\" index=\"1\"><field name=\"f\" domain=\"odd\"/></class></amqp>",
            "additions.xml:1: unknown domain `odd`",
        );
    }
}
