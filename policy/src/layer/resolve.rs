//! Which profile texts make up the chosen profile, in the order in which they are set.

use super::{DEFAULT_PROFILE, Layer};
use crate::config::shape::ProfileShape;
use crate::config::{Config, ConfigError, Mistake};
use std::collections::BTreeSet;

type Text<'a> = (&'a Config, &'a ProfileShape);

/// The texts of `name` and of everything it extends, from the farthest parent to the profile itself.
///
/// A profile that only the project defines starts from the person's own `default`, so that naming it is never a way around
/// what the person has set for themselves.
pub(super) fn chain<'a>(
    name: &str,
    trusted: &[&'a Layer],
    foreign: &[&'a Layer],
) -> Result<Vec<Text<'a>>, ConfigError> {
    let defined = |layers: &[&'a Layer]| layers.iter().any(|layer| layer.config.shape.profile.contains_key(name));
    let start = match (defined(trusted), defined(foreign)) {
        (true, _) => name,
        (false, true) => DEFAULT_PROFILE,
        (false, false) if name == DEFAULT_PROFILE => name,
        (false, false) => return Err(unknown(name, trusted, foreign)),
    };
    let mut chain = Chain { trusted, texts: Vec::new(), done: BTreeSet::new(), path: Vec::new() };
    chain.add(start)?;
    Ok(chain.texts)
}

struct Chain<'a, 'b> {
    trusted: &'b [&'a Layer],
    texts: Vec<Text<'a>>,
    done: BTreeSet<String>,
    /// From the chosen profile to the one being added.
    path: Vec<String>,
}

impl<'a> Chain<'a, '_> {
    fn add(&mut self, name: &str) -> Result<(), ConfigError> {
        self.path.push(name.to_owned());
        let texts: Vec<Text<'a>> = self
            .trusted
            .iter()
            .filter_map(|layer| layer.config.shape.profile.get(name).map(|shape| (&layer.config, shape)))
            .collect();
        for (config, shape) in &texts {
            let Some(parent) = &shape.extends else { continue };
            let wanted = parent.get_ref();
            if self.path.contains(wanted) {
                let circle = format!("{} → {wanted}", self.path.join(" → "));
                let message = format!("profile `{name}` extends itself: {circle}");
                return Err(config.error(Mistake::BadValue, parent.span(), message));
            }
            let exists = |layer: &&Layer| layer.config.shape.profile.contains_key(wanted.as_str());
            if wanted != DEFAULT_PROFILE && !self.trusted.iter().any(exists) {
                let message = format!("unknown profile `{wanted}`");
                return Err(config
                    .error(Mistake::UnknownWord, parent.span(), message)
                    .suggest_among(wanted, &names(self.trusted)));
            }
            if !self.done.contains(wanted) {
                self.add(wanted)?;
            }
        }
        self.texts.extend(texts);
        self.done.insert(name.to_owned());
        self.path.pop();
        Ok(())
    }
}

fn names(layers: &[&Layer]) -> Vec<String> {
    let mut names: BTreeSet<String> =
        layers.iter().flat_map(|layer| layer.config.profiles().map(str::to_owned)).collect();
    names.insert(DEFAULT_PROFILE.to_owned());
    names.into_iter().collect()
}

fn unknown(name: &str, trusted: &[&Layer], foreign: &[&Layer]) -> ConfigError {
    let all: Vec<&Layer> = trusted.iter().chain(foreign).copied().collect();
    let known = names(&all);
    let message = format!("unknown profile `{name}`, known are {}", crate::mode::list(&known));
    let error = ConfigError::elsewhere(Mistake::UnknownWord, "--profile", message);
    match crate::config::nearest(name, &known) {
        Some(near) => error.suggest(format!("did you mean `{near}`?")),
        None => error.suggest(format!("write a `[profile.{name}]` in your configuration file")),
    }
}
