//! Header templates: the subset of Go's `text/template` that traefikoidc accepts, compiled when
//! the configuration is read.
//!
//! `{{.Claims.email}}`, `{{.AccessToken}}`, `{{.IdToken}}`, `{{get .Claims "name"}}`,
//! `{{… | default "text"}}`, `if`/`else`/`end`, `range`/`end`, `with`/`end` and trim marks.
//! A value that is missing makes the whole header missing; the refresh token cannot be named.

mod parse;
mod render;

use super::claims::Claims;
use render::{Output, Scope};

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
    Range(Box<Range>),
}

/// `range` over a list.
#[derive(Debug, Clone, PartialEq)]
struct Range {
    list: Expr,
    index: Option<String>,
    item: Option<String>,
    body: Vec<Node>,
    otherwise: Vec<Node>,
    /// What tells its values apart: the signs in the fixed text of the body.
    signs: String,
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

    /// The text, or `None` if something printed is missing, or it is longer than a header may be.
    pub fn render(&self, source: Source<'_>) -> Option<String> {
        let mut out = Output::default();
        Scope::new(source).render(&self.0, &mut out)?;
        Some(out.text())
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
        Node::If { cond: value, then: body, otherwise } | Node::With { value, then: body, otherwise } => {
            test(value) || any_expr(body, test) || any_expr(otherwise, test)
        }
        Node::Range(range) => {
            test(&range.list) || any_expr(&range.body, test) || any_expr(&range.otherwise, test)
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
            Node::Range(range) => {
                collect_expr(&range.list, names);
                collect(&range.body, names);
                collect(&range.otherwise, names);
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn render(template: &str) -> Option<String> {
        let claims = json!({
            "email": "a@x", "groups": ["one", "two"], "roles": [], "realm_access": {"roles": ["r"]}, "name": "", "exp": 12,
            "email_verified": true, "custom.x": "dotted", "odd": ["a,b;c", "50% d"]
        });
        let claims = Claims::new(claims.as_object().unwrap().clone());
        let allowed = ["custom.x", "odd"].map(str::to_owned);
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
            ("{{range $i, $g := .Claims.odd}}{{if $i}}, {{end}}{{$g}}{{end}}", Some("a%2Cb;c, 50%25 d")),
            ("{{range $i, $g := .Claims.odd}}{{if $i}}{{`;`}}{{end}}{{$g}}{{end}}", Some("a,b%3Bc;50%25 d")),
            (
                "{{range .Claims.odd}}{{range $o := .Claims.odd}}{{$o}};{{end}}|{{end}}",
                Some("a,b%3Bc;50%25 d;|a,b%3Bc;50%25 d;|"),
            ),
            ("{{range .Claims.odd}}{{.}} {{end}}", Some("a,b;c 50%25%20d ")),
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
    fn what_takes_no_end_gives_no_header() {
        let many: Vec<String> = (0..50_000).map(|n| n.to_string()).collect();
        let claims = json!({"groups": many, "roles": many});
        let claims = Claims::new(claims.as_object().unwrap().clone());
        for template in [
            "{{range .Claims.groups}}{{range .Claims.roles}}{{end}}{{end}}",
            "{{range .Claims.groups}}{{range .Claims.roles}}x{{end}}{{end}}",
            "{{range .Claims.groups}}{{.}},{{end}}",
        ] {
            let started = std::time::Instant::now();
            let template = Template::compile(template, &[]).unwrap();
            assert_eq!(template.render(Source { claims: &claims, access_token: "", id_token: "" }), None);
            assert!(started.elapsed() < std::time::Duration::from_secs(1));
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
