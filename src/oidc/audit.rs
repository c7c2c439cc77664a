//! What happened to whom: one record for each login, denial, failed refresh, logout and revocation. No token.

use std::net::IpAddr;

use super::RequestParts;
use super::policy::Policy;
use super::session::{SessionEntry, SessionKey};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditEvent {
    /// A session began.
    Login,
    /// A login came back without a session.
    LoginFailed,
    /// Somebody is logged in but may not pass.
    Denied,
    /// Tokens were not renewed; the cause tells whether the session ended.
    RefreshFailed,
    /// The user logged out here.
    Logout,
    /// The provider logged the user out, server to server.
    BackchannelLogout,
    /// The provider logged the user out, through the browser.
    FrontchannelLogout,
    /// The operator ended sessions.
    Revoked,
}

impl AuditEvent {
    /// Its name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::LoginFailed => "login_failed",
            Self::Denied => "denied",
            Self::RefreshFailed => "refresh_failed",
            Self::Logout => "logout",
            Self::BackchannelLogout => "backchannel_logout",
            Self::FrontchannelLogout => "frontchannel_logout",
            Self::Revoked => "revoked",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, Copy)]
pub struct AuditRecord<'a> {
    /// What.
    pub event: AuditEvent,
    /// The middleware.
    pub policy: Option<&'a str>,
    /// The issuer.
    pub provider: Option<&'a str>,
    /// Who, as gates and services know them; a subject where only that is known.
    pub user: Option<&'a str>,
    /// The session; shown by the beginning of its name.
    pub session: Option<&'a SessionKey>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The request.
    pub request_id: Option<&'a str>,
    /// Of a login: whether its tokens can be renewed.
    pub refreshable: Option<bool>,
    /// Why; one of few words or texts.
    pub cause: Option<&'a str>,
}

impl<'a> AuditRecord<'a> {
    /// A record that says nothing else yet.
    pub fn new(event: AuditEvent) -> Self {
        let (policy, provider, user, session, client, request_id, refreshable, cause) =
            (None, None, None, None, None, None, None, None);
        Self { event, policy, provider, user, session, client, request_id, refreshable, cause }
    }
}

impl Policy {
    /// Tells the observer what a request has come to. `who` where there is no session to tell it.
    pub(super) fn audit(
        &self,
        event: AuditEvent,
        request: &RequestParts<'_>,
        session: Option<&SessionEntry>,
        who: Option<&str>,
        cause: Option<&str>,
    ) {
        let profile = session.map(SessionEntry::profile);
        let name = profile.as_ref().map(|profile| profile.identifier());
        let login = session.filter(|_| event == AuditEvent::Login);
        self.core.events.audit(&AuditRecord {
            user: who.or(name.as_deref()),
            session: session.map(SessionEntry::key),
            refreshable: login.map(|entry| self.is_refreshable(entry)),
            cause,
            ..self.of_request(event, request)
        });
    }

    /// The same of a session of which only the name is known.
    pub(super) fn audit_key(&self, event: AuditEvent, request: &RequestParts<'_>, session: &SessionKey) {
        self.core.events.audit(&AuditRecord { session: Some(session), ..self.of_request(event, request) });
    }

    fn of_request<'a>(&'a self, event: AuditEvent, request: &RequestParts<'a>) -> AuditRecord<'a> {
        AuditRecord {
            policy: Some(&self.core.name),
            provider: Some(self.core.provider.issuer()),
            client: Some(request.client),
            request_id: Some(request.request_id),
            ..AuditRecord::new(event)
        }
    }
}
