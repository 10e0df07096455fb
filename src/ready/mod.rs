//! When the guest is ready: what `monopod.ready` asks for has come true.
