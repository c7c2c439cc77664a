//! Header templates: the subset of Go's `text/template` that traefikoidc accepts, compiled when
//! the configuration is read.
//!
//! `{{.Claims.email}}`, `{{.AccessToken}}`, `{{.IdToken}}`, `{{get .Claims "name"}}`,
//! `{{… | default "text"}}`, `if`/`else`/`end`, `range`/`end`, `with`/`end` and trim marks.
//! A value that is missing makes the whole header missing; the refresh token cannot be named.

mod parse;

use serde_json::Value;

use super::claims::Claims;

/// A fault in a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template, character {}: {message}", offset + 1)]
pub struct TemplateError {
    /// Byte offset in the template.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
}

/// A compiled template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Vec<Node>);

/// What a template may name.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Claims of the user.
    pub claims: &'a Claims,
    /// Access token.
    pub access_token: &'a str,
    /// ID token.
    pub id_token: &'a str,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Text(String),
    Print(Expr),
    If { cond: Expr, then: Vec<Node>, otherwise: Vec<Node> },
    With { value: Expr, then: Vec<Node>, otherwise: Vec<Node> },
    Range { list: Expr, index: Option<String>, item: Option<String>, body: Vec<Node>, otherwise: Vec<Node> },
}

#[derive(Debug, Clone, PartialEq)]
enum Expr {
    Claim(Vec<String>),
    /// `get .Claims "name"`: the name literally, else as a path.
    Named(String),
    AccessToken,
    IdToken,
    Literal(String),
    Dot,
    Variable(String),
    Default {
        value: Box<Expr>,
        fallback: Box<Expr>,
    },
}

/// Claims that a template may name without `allowedClaims`.
const LISTED: &[&str] = &[
    "email",
    "name",
    "given_name",
    "family_name",
    "preferred_username",
    "sub",
    "iss",
    "aud",
    "exp",
    "iat",
    "groups",
    "roles",
    "internal_role",
    "role",
    "department",
    "organization",
    "realm_access",
    "resource_access",
    "oid",
    "tid",
    "upn",
    "hd",
    "picture",
    "locale",
    "zoneinfo",
    "phone_number",
    "email_verified",
    "updated_at",
];

impl Template {
    /// Compiles `text`; `allowed` are claims beside the listed ones.
    ///
    /// # Errors
    /// The first construct that is not accepted, with its position.
    pub fn compile(text: &str, allowed: &[String]) -> Result<Self, TemplateError> {
        parse::parse(text, &|claim| LISTED.contains(&claim) || allowed.iter().any(|a| a == claim)).map(Self)
    }

    /// A template that is one claim: the form of `forwardHeaders`.
    pub fn claim(name: &str) -> Self {
        Self(vec![Node::Print(Expr::Named(name.to_owned()))])
    }

    /// The text, or `None` if something printed is missing.
    pub fn render(&self, source: Source<'_>) -> Option<String> {
        let mut out = String::new();
        let scope = Scope { source, dot: None, variables: Vec::new() };
        scope.render(&self.0, &mut out)?;
        Some(out)
    }

    /// Whether it names a token.
    pub fn needs_tokens(&self) -> bool {
        any_expr(&self.0, &uses_token)
    }

    /// Top-level claims that it depends on.
    pub fn needed_claims(&self) -> Vec<&str> {
        let mut names = Vec::new();
        collect(&self.0, &mut names);
        names
    }
}

fn uses_token(expr: &Expr) -> bool {
    match expr {
        Expr::AccessToken | Expr::IdToken => true,
        Expr::Default { value, fallback } => uses_token(value) || uses_token(fallback),
        _ => false,
    }
}

fn any_expr(nodes: &[Node], test: &dyn Fn(&Expr) -> bool) -> bool {
    nodes.iter().any(|node| match node {
        Node::Text(_) => false,
        Node::Print(value) => test(value),
        Node::If { cond: value, then: body, otherwise }
        | Node::With { value, then: body, otherwise }
        | Node::Range { list: value, body, otherwise, .. } => {
            test(value) || any_expr(body, test) || any_expr(otherwise, test)
        }
    })
}

fn collect<'a>(nodes: &'a [Node], names: &mut Vec<&'a str>) {
    for node in nodes {
        match node {
            Node::Text(_) => {}
            Node::Print(value) => collect_expr(value, names),
            Node::If { cond: value, then, otherwise } | Node::With { value, then, otherwise } => {
                collect_expr(value, names);
                collect(then, names);
                collect(otherwise, names);
            }
            Node::Range { list, body, otherwise, .. } => {
                collect_expr(list, names);
                collect(body, names);
                collect(otherwise, names);
            }
        }
    }
}

fn collect_expr<'a>(expr: &'a Expr, names: &mut Vec<&'a str>) {
    match expr {
        Expr::Claim(path) => names.extend(path.first().map(String::as_str)),
        Expr::Named(name) => names.push(name),
        Expr::Default { value, fallback } => {
            collect_expr(value, names);
            collect_expr(fallback, names);
        }
        _ => {}
    }
}

/// What names mean at one place of the template.
struct Scope<'a> {
    source: Source<'a>,
    dot: Option<&'a Value>,
    variables: Vec<(&'a str, Item<'a>)>,
}

#[derive(Clone, Copy)]
enum Item<'a> {
    Text(&'a str),
    Number(usize),
    Json(&'a Value),
}

impl<'a> Scope<'a> {
    fn render(&self, nodes: &'a [Node], out: &mut String) -> Option<()> {
        for node in nodes {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Print(expr) => print(self.eval(expr)?, out)?,
                Node::If { cond, then, otherwise } => {
                    let branch = if self.eval(cond).is_some_and(truthy) { then } else { otherwise };
                    self.render(branch, out)?;
                }
                Node::With { value, then, otherwise } => {
                    match self.eval(value).filter(|item| truthy(*item)) {
                        Some(Item::Json(dot)) => self.inner(Some(dot), Vec::new()).render(then, out)?,
                        Some(_) => self.render(then, out)?,
                        None => self.render(otherwise, out)?,
                    }
                }
                Node::Range { list, index, item, body, otherwise } => {
                    self.range(list, index.as_deref(), item.as_deref(), body, otherwise, out)?;
                }
            }
        }
        Some(())
    }

    fn range(
        &self,
        list: &'a Expr,
        index: Option<&'a str>,
        item: Option<&'a str>,
        body: &'a [Node],
        otherwise: &'a [Node],
        out: &mut String,
    ) -> Option<()> {
        let values: &[Value] = match self.eval(list) {
            Some(Item::Json(Value::Array(values))) => values,
            Some(Item::Json(single)) => std::slice::from_ref(single),
            _ => &[],
        };
        if values.is_empty() {
            return self.render(otherwise, out);
        }
        for (position, value) in values.iter().enumerate() {
            let mut variables = self.variables.clone();
            variables.extend(index.map(|name| (name, Item::Number(position))));
            variables.extend(item.map(|name| (name, Item::Json(value))));
            self.inner(Some(value), variables).render(body, out)?;
        }
        Some(())
    }

    fn inner(&self, dot: Option<&'a Value>, variables: Vec<(&'a str, Item<'a>)>) -> Self {
        let variables = if variables.is_empty() { self.variables.clone() } else { variables };
        Self { source: self.source, dot, variables }
    }

    fn eval(&self, expr: &'a Expr) -> Option<Item<'a>> {
        match expr {
            Expr::Claim(path) => self.source.claims.at(path.iter().map(String::as_str)).and_then(present),
            Expr::Named(name) => self.source.claims.get(name).and_then(present),
            Expr::AccessToken => Some(Item::Text(self.source.access_token)).filter(|item| truthy(*item)),
            Expr::IdToken => Some(Item::Text(self.source.id_token)).filter(|item| truthy(*item)),
            Expr::Literal(text) => Some(Item::Text(text)),
            Expr::Dot => self.dot.and_then(present),
            Expr::Variable(name) => {
                self.variables.iter().rev().find(|(n, _)| n == name).map(|(_, item)| *item)
            }
            Expr::Default { value, fallback } => {
                self.eval(value).filter(|item| truthy(*item)).or_else(|| self.eval(fallback))
            }
        }
    }
}

fn present(value: &Value) -> Option<Item<'_>> {
    (!value.is_null()).then_some(Item::Json(value))
}

/// Go's truth: not zero, not empty.
fn truthy(item: Item<'_>) -> bool {
    match item {
        Item::Text(text) => !text.is_empty(),
        Item::Number(number) => number != 0,
        Item::Json(Value::Null) => false,
        Item::Json(Value::Bool(value)) => *value,
        Item::Json(Value::Number(number)) => number.as_f64() != Some(0.0),
        Item::Json(Value::String(text)) => !text.is_empty(),
        Item::Json(Value::Array(items)) => !items.is_empty(),
        Item::Json(Value::Object(members)) => !members.is_empty(),
    }
}

/// Scalars as text, lists comma-joined (each value encoded as in the list headers); an object has
/// no text.
fn print(item: Item<'_>, out: &mut String) -> Option<()> {
    match item {
        Item::Text(text) => out.push_str(text),
        Item::Number(number) => out.push_str(&number.to_string()),
        Item::Json(Value::String(text)) => out.push_str(text),
        Item::Json(Value::Bool(value)) => out.push_str(if *value { "true" } else { "false" }),
        Item::Json(Value::Number(number)) => out.push_str(&number.to_string()),
        Item::Json(Value::Array(items)) => {
            let list = super::identity_headers::list(items.iter().filter_map(Value::as_str))?;
            out.push_str(list.to_str().ok()?);
        }
        Item::Json(Value::Null | Value::Object(_)) => return None,
    }
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn render(template: &str) -> Option<String> {
        let claims = json!({
            "email": "a@x", "groups": ["one", "two"], "roles": [], "realm_access": {"roles": ["r"]}, "name": "", "exp": 12,
            "email_verified": true, "custom.x": "dotted"
        });
        let claims = Claims::new(claims.as_object().unwrap().clone());
        let allowed = ["custom.x".to_owned()];
        let template = Template::compile(template, &allowed).unwrap_or_else(|e| panic!("{template}: {e}"));
        template.render(Source { claims: &claims, access_token: "AT", id_token: "IT" })
    }

    #[test]
    fn renders() {
        let cases = [
            ("static", Some("static")),
            ("{{.Claims.email}}", Some("a@x")),
            ("Bearer {{ .AccessToken }}", Some("Bearer AT")),
            ("{{.IDToken}}{{.IdToken}}", Some("ITIT")),
            ("{{.Claims.picture}}", None),
            ("x {{.Claims.picture}}", None),
            ("{{ get .Claims \"custom.x\" }}", Some("dotted")),
            ("{{ get .Claims \"picture\" | default \"guest\" }}", Some("guest")),
            ("{{ .Claims.name | default `none` }}", Some("none")),
            ("{{ \"email\" | get .Claims }}", Some("a@x")),
            ("{{ `picture` | get .Claims | default `guest` }}", Some("guest")),
            ("{{ (\"custom.x\" | get .Claims) }}", Some("dotted")),
            ("{{ default \"guest\" .Claims.email }}", Some("a@x")),
            ("{{ default \"g\" (get .Claims \"role\") }}", Some("g")),
            ("{{.Claims.realm_access.roles}}", Some("r")),
            ("{{.Claims.groups}}", Some("one,two")),
            ("{{range $i, $g := .Claims.groups}}{{if $i}};{{end}}{{$g}}{{end}}", Some("one;two")),
            ("{{range .Claims.groups}}[{{.}}]{{end}}", Some("[one][two]")),
            ("{{range .Claims.roles}}x{{else}}none{{end}}", Some("none")),
            ("{{if .Claims.email_verified}}yes{{else}}no{{end}}", Some("yes")),
            ("{{if .Claims.picture}}yes{{else if .Claims.email}}mail{{else}}no{{end}}", Some("mail")),
            ("{{with .Claims.email}}<{{.}}>{{end}}", Some("<a@x>")),
            ("a {{- .Claims.exp -}} b", Some("a12b")),
        ];
        for (template, expected) in cases {
            assert_eq!(render(template).as_deref(), expected, "{template}");
        }
    }

    #[test]
    fn refuses_with_position() {
        let cases = [
            ("{{.RefreshToken}}", 2),
            ("x {{.Claims}}", 4),
            ("{{.claims.email}}", 2),
            ("{{.Claims.secret}}", 2),
            ("{{ printf \"%s\" .Claims.email }}", 3),
            ("{{ index .Claims \"email\" }}", 3),
            ("{{.Claims.email", 0),
            ("{{if .Claims.email}}x", 0),
            ("{{end}}", 2),
            ("{{.}}", 2),
            ("{{$}}", 2),
            ("{{$x}}", 2),
            ("{{{{.Claims.email}}}}", 2),
            ("a\r\nb", 1),
            ("{{define \"x\"}}{{end}}", 2),
            ("{{ .Claims.email | get .Claims \"name\" }}", 19),
            ("{{ \"email\" | get .Claims \"name\" }}", 13),
            ("{{ .Claims.email | get .Claims }}", 19),
            ("{{ \"secret\" | get .Claims }}", 14),
            ("{{ \"email\" | get }}", 13),
            ("{{ \"email\" | get .IdToken }}", 13),
            ("{{ get .Claims \"name\" \"email\" }}", 3),
        ];
        for (template, offset) in cases {
            let error = Template::compile(template, &[]).expect_err(template);
            assert_eq!(error.offset, offset, "{template}: {error}");
        }
    }

    #[test]
    fn knows_its_claims() {
        let template =
            Template::compile("{{range .Claims.groups}}{{.}}{{end}}{{.Claims.email}}", &[]).unwrap();
        assert_eq!(template.needed_claims(), ["groups", "email"]);
    }

    const PIECES: &[&str] = &[
        "{{.Claims.email}}",
        "{{- .IdToken -}}",
        "{{get .Claims \"exp\" | default \"x\"}}",
        "{{default `é` .Claims.name}}",
        "{{if .Claims.sub}}",
        "{{else if .Claims.groups}}",
        "{{with .Claims.realm_access.roles}}",
        "{{range $i, $g := .Claims.groups}}",
        "{{$g}}",
        "{{.}}",
        "{{else}}",
        "{{end}}",
        "{{",
        "}} é",
    ];

    proptest! {
        /// Whatever compiles renders, and needs no claim but those that it names.
        #[test]
        fn named_claims_suffice(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..8)) {
            let text = pieces.concat();
            let template = match Template::compile(&text, &[]) {
                Ok(template) => template,
                Err(error) => {
                    prop_assert!(text.is_char_boundary(error.offset), "{}", error);
                    return Ok(());
                }
            };
            let all = json!({"email": "a@x", "groups": ["one"], "realm_access": {"roles": ["r"]}, "exp": 12, "sub": "s"});
            let all = all.as_object().unwrap().clone();
            let mut kept = all.clone();
            kept.retain(|name, _| template.needed_claims().contains(&name.as_str()));
            let render = |claims: &Claims| template.render(Source { claims, access_token: "AT", id_token: "IT" });
            prop_assert_eq!(render(&Claims::new(all)), render(&Claims::new(kept)));
        }
    }
}
