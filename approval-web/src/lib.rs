//! Hold an action, show it to a person, record the decision and let it be used once.
//!
//! A runner makes a [`plan::HoldPlan`] of what it is about to do and gives it to the server through [`client::Client`].
//! A person sees it in a browser and approves or denies it; the decision names the plan's digest. The runner spends the
//! approval with [`client::Client::release`], which is durable and possible once, and only then executes.
//!
//! - [`plan`]: what is shown, and the digest that binds it; [`text`]: the one encoder of untrusted bytes
//! - [`state`]: the machine, a pure function
//! - [`server`] and [`client`]
//!
//! No failure here ever means "go ahead": server away, expired, cancelled and denied are different answers, and none of
//! them is an approval.

#![forbid(unsafe_code)]

mod api;
mod bytes;
pub mod client;
mod error;
pub mod hold;
mod pages;
pub mod plan;
pub mod runner;
pub mod server;
pub mod state;
pub mod store;
pub mod text;

pub use error::Error;
