//! What keeps the guest from hurting the host, and what hears why it reboots.
