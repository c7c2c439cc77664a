//! Who may pass, and how they must have logged in.

use super::Builder;
use crate::config::value::Value;
use crate::oidc::authorize::{Expression, StepUp};
use crate::oidc::gate::GateSettings;
use crate::oidc::settings::check;

/// Options that keep somebody out.
const RULES: &[&str] = &[
    "allowedUsers",
    "allowedUserDomains",
    "allowedRolesAndGroups",
    "allowedTenants",
    "claims",
    "acrValues",
    "maxAge",
    "bearerAllowedClients",
    "bearerRequireAtJwt",
    "requireTokenIntrospection",
    "strictAudienceValidation",
    "disableLogin",
];

impl Builder<'_> {
    /// A rule without a value, which is what a template leaves whose variable is not set, would let everybody pass. An
    /// empty list may be meant.
    pub(super) fn refuse_blank_rules(&mut self) {
        for key in RULES {
            match self.node.get(key).map(|entry| &entry.node.value) {
                Some(Value::Null) => {
                    self.error(
                        key,
                        "has no value, and would keep nobody out; leave the key away if that is meant",
                    );
                }
                Some(Value::List(items)) if items.is_empty() => {
                    self.warn(key, "is empty, and keeps nobody out");
                }
                _ => {}
            }
        }
    }

    pub(super) fn gate(&mut self) -> Option<GateSettings> {
        let block = self.block;
        let names = ["userIdentifierClaim", "usernameClaim"];
        let identifier = self.either(names, [&block.user_identifier_claim, &block.username_claim]);
        let identifier = identifier.map(|(_, claim)| claim).filter(|claim| !claim.is_empty());
        let identifier_claim = identifier.unwrap_or_else(|| "email".to_owned());
        if !block.allowed_user_domains.is_empty()
            && !matches!(identifier_claim.as_str(), "email" | "upn" | "preferred_username")
        {
            self.warn(
                "allowedUserDomains",
                "compares the part behind `@` of the identifier, which is not an e-mail address here",
            );
        }
        let claims = self.claims();
        let claim =
            |name: &str, default: &str| if name.is_empty() { default.to_owned() } else { name.to_owned() };
        Some(GateSettings {
            users: block.allowed_users.clone(),
            domains: block.allowed_user_domains.clone(),
            roles_and_groups: block.allowed_roles_and_groups.clone(),
            identifier_claim,
            role_claim: claim(&block.role_claim_name, "roles"),
            group_claim: claim(&block.group_claim_name, "groups"),
            claims: claims?,
            domains_by_verified_email: false,
            tenants: block.allowed_tenants.clone(),
        })
    }

    /// The expression over claims, if one is written. A blank one is a mistake, such as a variable that is not set.
    fn claims(&mut self) -> Option<Option<Expression>> {
        let Some(text) = self.block.claims.as_deref() else { return Some(None) };
        if text.trim().is_empty() {
            self.error(
                "claims",
                "is blank, and would let everybody pass; without the key no claim is asked for",
            );
            return None;
        }
        let compiled = Expression::compile(text).map_err(|error| error.to_string());
        self.checked("claims", compiled).map(Some)
    }

    pub(super) fn step_up(&mut self) -> Option<Option<StepUp>> {
        let block = self.block;
        let max_age = match block.max_age {
            None => None,
            Some(seconds) => Some(self.checked("maxAge", check::seconds(seconds, None))?),
        };
        // They are sent as one list with spaces, and in a quoted string (RFC 9470, section 3).
        let legal = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
        for value in &block.acr_values {
            if value.is_empty() || !value.bytes().all(legal) {
                self.error("acrValues", format!("`{value}` is not the name of an authentication context"));
                return None;
            }
        }
        Some(StepUp::new(block.acr_values.clone(), max_age))
    }
}
