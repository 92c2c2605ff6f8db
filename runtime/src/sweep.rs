//! The sweeper's host side: a process that outlives a killed owner and removes the reservations of protected names.

use crate::{error::Result, reserve::Reservation, sys::launch::Started};
use std::os::fd::OwnedFd;

#[derive(Debug)]
pub(crate) struct Sweeper;
impl Sweeper {
    pub(crate) fn start(_resident: &OwnedFd, _first: &OwnedFd, _reserved: Vec<Reservation>) -> Result<Option<Self>> {
        Ok(None)
    }
}
