//! The approval server from outside: over its sockets, killed and restarted, with hostile requests and hostile text.

#![forbid(unsafe_code)]

#[cfg(test)]
mod fixture;

#[cfg(test)]
mod escaping;
#[cfg(test)]
mod events;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod pairing;
#[cfg(test)]
mod plan;
#[cfg(test)]
mod server;
#[cfg(test)]
mod store;
