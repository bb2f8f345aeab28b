//! Any PID, any uid, any root.
