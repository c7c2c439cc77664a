//! Who may pass: users, e-mail domains, roles and groups.

use serde_json::Value;

use super::authorize::Expression;
use super::claims::Claims;

/// The authorization rules of one policy.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    users: Vec<String>,
    domains: Vec<String>,
    roles_and_groups: Vec<String>,
    identifier_claim: String,
    role_claim: String,
    group_claim: String,
    claims: Option<Expression>,
    domains_by_verified_email: bool,
    tenants: Vec<String>,
    any_tenant: bool,
}

/// Why a user may not pass, in words for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// Neither the user nor the e-mail domain is listed.
    User,
    /// The domain is listed but the address is not verified.
    EmailNotVerified,
    /// None of the roles and groups is there.
    RolesAndGroups,
    /// The expression over claims is not true.
    Claims,
    /// The user belongs to a tenant that is not among the allowed ones.
    Tenant,
    /// The provider did not give the login that was asked for: `acr` or `auth_time` are not enough.
    Login,
}

impl Denial {
    /// A name for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user not allowed",
            Self::EmailNotVerified => "email address not verified",
            Self::RolesAndGroups => "no allowed role or group",
            Self::Claims => "claims do not fit",
            Self::Tenant => "tenant not allowed",
            Self::Login => "the login is not strong or recent enough",
        }
    }
}

/// What [`Gate::new`] needs: the options as configured.
#[derive(Debug, Clone, Default)]
pub struct GateSettings {
    /// Identifiers that may pass.
    pub users: Vec<String>,
    /// E-mail domains that may pass.
    pub domains: Vec<String>,
    /// Roles and groups, any of which is needed.
    pub roles_and_groups: Vec<String>,
    /// Claim that names the user.
    pub identifier_claim: String,
    /// Claim with the roles.
    pub role_claim: String,
    /// Claim with the groups.
    pub group_claim: String,
    /// What must be true of the claims.
    pub claims: Option<Expression>,
    /// Domains are those of `email`, which must be verified, whatever names the user.
    pub domains_by_verified_email: bool,
    /// Tenants whose users may pass, `*` any; where none is written, nobody asks.
    pub tenants: Vec<String>,
}

/// Stands for every tenant.
pub(super) const ANY_TENANT: &str = "*";

/// Whether the user's tenant is one of `allowed`.
pub(super) fn is_of_tenant(allowed: &[String], claims: &Claims) -> bool {
    let tenant = claims.text("tid");
    let is_theirs = |entry: &String| tenant.is_some_and(|tenant| entry.eq_ignore_ascii_case(tenant));
    allowed.iter().any(|entry| entry == ANY_TENANT || is_theirs(entry))
}

impl Gate {
    /// Folds case once. An empty name in a list matches nobody, but the list counts as configured.
    pub fn new(settings: &GateSettings) -> Self {
        let fold = |list: &[String]| list.iter().map(|name| fold_case(name.trim())).collect();
        Self {
            users: fold(&settings.users),
            domains: fold(&settings.domains)
                .into_iter()
                .map(|d: String| d.trim_start_matches('@').to_owned())
                .collect(),
            roles_and_groups: settings.roles_and_groups.clone(),
            identifier_claim: settings.identifier_claim.clone(),
            role_claim: settings.role_claim.clone(),
            group_claim: settings.group_claim.clone(),
            claims: settings.claims.clone(),
            domains_by_verified_email: settings.domains_by_verified_email,
            tenants: settings.tenants.clone(),
            any_tenant: settings.tenants.iter().any(|entry| entry == ANY_TENANT),
        }
    }

    /// Whether the user with these claims may pass.
    ///
    /// # Errors
    /// The rule that denies. A claim that is missing denies.
    pub fn admit(&self, claims: &Claims) -> Result<(), Denial> {
        if !self.tenants.is_empty() && !is_of_tenant(&self.tenants, claims) {
            return Err(Denial::Tenant);
        }
        self.admit_user(claims)?;
        if !self.roles_and_groups.is_empty() && !self.has_role_or_group(claims) {
            return Err(Denial::RolesAndGroups);
        }
        match &self.claims {
            Some(expression) if !expression.admits(claims) => Err(Denial::Claims),
            _ => Ok(()),
        }
    }

    /// Where anybody's tenant may log in, its administrator writes the addresses of its users: there they count only as
    /// `email`, and only verified.
    fn admit_user(&self, claims: &Claims) -> Result<(), Denial> {
        if self.users.is_empty() && self.domains.is_empty() {
            return Ok(());
        }
        let identifier = fold_case(claims.identifier(&self.identifier_claim).unwrap_or_default());
        let is_listed = !identifier.is_empty() && self.users.contains(&identifier);
        if is_listed && !(self.any_tenant && identifier.contains('@')) {
            return Ok(());
        }
        let by_email = self.domains_by_verified_email || self.any_tenant;
        let address = match by_email {
            true => fold_case(claims.text("email").unwrap_or_default()),
            false => identifier.clone(),
        };
        let unverified = is_unverified(claims) || by_email && claims.get("email_verified").is_none();
        let of_domain =
            domain(&address).is_some_and(|domain| self.domains.iter().any(|known| known == domain));
        match () {
            () if !unverified && (of_domain || is_listed && address == identifier) => Ok(()),
            () if of_domain || is_listed => Err(Denial::EmailNotVerified),
            () => Err(Denial::User),
        }
    }

    fn has_role_or_group(&self, claims: &Claims) -> bool {
        let allowed = |name: &&str| !name.is_empty() && self.roles_and_groups.iter().any(|a| a == name);
        claims.strings(&self.role_claim).iter().any(allowed)
            || claims.strings(&self.group_claim).iter().any(allowed)
    }
}

/// Lower case, but nothing beyond ASCII becomes ASCII: the Kelvin sign is not the letter `k`, and
/// who may choose its name must not become somebody else by it.
fn fold_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        let start = out.len();
        out.extend(c.to_lowercase());
        if !c.is_ascii() && out.get(start..).is_some_and(|folded| folded.is_ascii()) {
            out.truncate(start);
            out.push(c);
        }
    }
    out
}

/// What follows the only `@`.
fn domain(identifier: &str) -> Option<&str> {
    let (local, domain) = identifier.split_once('@')?;
    (!local.is_empty() && !domain.is_empty() && !domain.contains('@')).then_some(domain)
}

/// `email_verified` is a boolean; some providers send it as text.
fn is_unverified(claims: &Claims) -> bool {
    match claims.get("email_verified") {
        Some(Value::Bool(verified)) => !verified,
        Some(Value::String(text)) => !text.eq_ignore_ascii_case("true"),
        None => false,
        Some(_) => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(value: Value) -> Claims {
        Claims::new(value.as_object().unwrap().clone())
    }

    fn gate(users: &[&str], domains: &[&str], roles: &[&str]) -> Gate {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Gate::new(&GateSettings {
            users: own(users),
            domains: own(domains),
            roles_and_groups: own(roles),
            identifier_claim: "email".into(),
            role_claim: "roles".into(),
            group_claim: "groups".into(),
            claims: None,
            domains_by_verified_email: false,
            tenants: Vec::new(),
        })
    }

    #[test]
    fn nothing_configured_admits() {
        assert_eq!(gate(&[], &[], &[]).admit(&claims(json!({"sub": "x"}))), Ok(()));
    }

    #[test]
    fn user_or_domain_suffices_without_regard_to_case() {
        let gate = gate(&["Bob@Other.example"], &["Example.COM"], &[]);
        assert_eq!(gate.admit(&claims(json!({"sub": "1", "email": "BOB@other.example"}))), Ok(()));
        assert_eq!(gate.admit(&claims(json!({"sub": "1", "email": "Alice@EXAMPLE.com"}))), Ok(()));
        assert_eq!(
            gate.admit(&claims(json!({"sub": "1", "email": "alice@sub.example.com"}))),
            Err(Denial::User)
        );
    }

    #[test]
    fn odd_addresses_are_denied() {
        let gate = gate(&[], &["company.com"], &[]);
        for email in [
            "a@evil@company.com",
            "\"x@company.com\"@evil.com",
            "a@company.com.",
            "@company.com",
            "company.com",
            "a@",
        ] {
            assert_eq!(
                gate.admit(&claims(json!({"sub": "1", "email": email}))),
                Err(Denial::User),
                "{email}"
            );
        }
        for verified in [json!(false), json!("false"), json!(0)] {
            let claims = claims(json!({"sub": "1", "email": "a@company.com", "email_verified": verified}));
            assert_eq!(gate.admit(&claims), Err(Denial::EmailNotVerified));
        }
        assert_eq!(
            gate.admit(&claims(json!({"sub": "1", "email": "a@company.com", "email_verified": true}))),
            Ok(())
        );
    }

    #[test]
    fn letters_that_only_fold_to_ascii_are_others() {
        let gate = gate(&["kevin@other.example", "Zoë@other.example"], &["bank.com"], &[]);
        for email in ["\u{212a}evin@other.example", "a@ban\u{212a}.com", "kevin@other.example\u{a0}"] {
            let claims = claims(json!({"sub": "1", "email": email}));
            assert_eq!(gate.admit(&claims), Err(Denial::User), "{email}");
        }
        assert_eq!(gate.admit(&claims(json!({"sub": "1", "email": "ZOË@other.example"}))), Ok(()));
    }

    #[test]
    fn roles_and_groups_any_of() {
        let gate = gate(&[], &[], &["admin", "ops", ""]);
        assert_eq!(gate.admit(&claims(json!({"sub": "1", "roles": ["admin"]}))), Ok(()));
        assert_eq!(gate.admit(&claims(json!({"sub": "1", "groups": "ops"}))), Ok(()));
        assert_eq!(
            gate.admit(&claims(json!({"sub": "1", "groups": ["Admin", "", 5]}))),
            Err(Denial::RolesAndGroups)
        );
        assert_eq!(gate.admit(&claims(json!({"sub": "1"}))), Err(Denial::RolesAndGroups));
    }

    #[test]
    fn an_expression_is_needed_beside_the_lists() {
        let settings = GateSettings {
            users: vec!["alice".into()],
            identifier_claim: "sub".into(),
            claims: Some(Expression::compile("Contains(`realm_access.roles`, `ops`)").unwrap()),
            ..GateSettings::default()
        };
        let gate = Gate::new(&settings);
        let with = |sub: &str, roles: Value| gate.admit(&claims(json!({"sub": sub, "realm_access": roles})));
        assert_eq!(with("alice", json!({"roles": ["ops"]})), Ok(()));
        assert_eq!(with("alice", json!({"roles": ["dev"]})), Err(Denial::Claims));
        assert_eq!(with("alice", json!(null)), Err(Denial::Claims));
        assert_eq!(with("bob", json!({"roles": ["ops"]})), Err(Denial::User));
    }

    #[test]
    fn tenants() {
        let of = |tenants: &[&str], tid: Value| {
            let tenants = tenants.iter().map(|tenant| (*tenant).to_owned()).collect();
            Gate::new(&GateSettings { tenants, ..GateSettings::default() })
                .admit(&claims(json!({"sub": "1", "tid": tid})))
        };
        assert_eq!(of(&[], json!(null)), Ok(()));
        assert_eq!(of(&["A-1", "b-2"], json!("a-1")), Ok(()));
        assert_eq!(of(&["*"], json!("c-3")), Ok(()));
        for tid in [json!("c-3"), json!(null), json!(""), json!(["a-1"]), json!("*")] {
            assert_eq!(of(&["a-1", ""], tid.clone()), Err(Denial::Tenant), "{tid}");
        }
    }

    /// What an administrator anywhere may write is no address of anybody's.
    #[test]
    fn addresses_of_any_tenant_must_be_verified() {
        let gate = |identifier: &str| {
            Gate::new(&GateSettings {
                users: vec!["boss@corp.example".into(), "oid-7".into()],
                domains: vec!["corp.example".into()],
                identifier_claim: identifier.into(),
                tenants: vec!["*".into()],
                ..GateSettings::default()
            })
        };
        let mail =
            |email: &str, verified: Value| json!({"sub": "s", "email": email, "email_verified": verified});
        for (user, verdict) in [
            (mail("boss@corp.example", json!(null)), Err(Denial::EmailNotVerified)),
            (mail("a@corp.example", json!(null)), Err(Denial::EmailNotVerified)),
            (mail("a@corp.example", json!(false)), Err(Denial::EmailNotVerified)),
            (mail("a@corp.example", json!(true)), Ok(())),
            (mail("boss@corp.example", json!(true)), Ok(())),
            (mail("a@other.example", json!(true)), Err(Denial::User)),
        ] {
            assert_eq!(gate("email").admit(&claims(user.clone())), verdict, "{user}");
        }
        let mut named = mail("x@evil.example", json!(true));
        named["upn"] = json!("boss@corp.example");
        assert_eq!(gate("upn").admit(&claims(named)), Err(Denial::EmailNotVerified));
        assert_eq!(gate("oid").admit(&claims(json!({"sub": "s", "oid": "oid-7"}))), Ok(()));
    }

    #[test]
    fn an_empty_name_admits_nobody() {
        assert_eq!(gate(&[""], &[], &[]).admit(&claims(json!({"sub": "1", "email": ""}))), Err(Denial::User));
    }
}
