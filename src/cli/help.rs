//! `--help`, `-h` or `help` behind a command.

const CHECK: &str = "\
Usage:
  portcullis check [--configFile=FILE | --key.of.the.static.configuration=value ...]

Reads a configuration as the running process would, but calls nobody and writes nothing. Prints what it sets up, what will
differ from the traefikoidc plugin and what deserves attention, or every fault with file, line and key.

Exit code: 0 it can be used; 1 it cannot.
";

const HEALTHCHECK: &str = "\
Usage:
  portcullis healthcheck [--configFile=FILE | --key.of.the.static.configuration=value ...]

Asks the running process for /ping, where the same configuration says it is (`ping`).

Exit code: 0 it is well; 1 it is not, or cannot be asked.
";

const VERSION: &str = "\
Usage:
  portcullis version

Prints the version.
";

/// The usage of `command`, if `arguments` ask for it; none if the command has no usage of ours.
pub(super) fn asked(command: &str, arguments: &[String]) -> Option<&'static str> {
    let usage = match command {
        "check" => CHECK,
        "healthcheck" => HEALTHCHECK,
        "sessions" => super::sessions::USAGE,
        "version" => VERSION,
        _ => return None,
    };
    let is_first = arguments.first().is_some_and(|first| first == "help");
    (is_first || is_wanted(arguments)).then_some(usage)
}

/// Whether a flag among `arguments` asks for help.
pub(super) fn is_wanted(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument == "--help" || argument == "-h")
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_command_tells_its_usage_however_it_is_asked() {
        let asked = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            words.split_first().and_then(|(command, rest)| super::asked(command, rest))
        };
        for command in ["check", "healthcheck", "sessions", "version"] {
            for line in ["help", "-h", "--help", "--configFile=x --help"] {
                let usage = asked(&format!("{command} {line}")).unwrap_or_default();
                assert!(usage.contains(&format!("portcullis {command}")), "{command} {line}");
            }
            assert_eq!(asked(&format!("{command} --configFile=help")), None);
        }
        assert!(asked("sessions list --help").is_some());
        assert_eq!(asked("serve --help"), None);
        let flags = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(super::is_wanted(&flags("--ping --help")) && !super::is_wanted(&flags("--ping")));
    }
}
