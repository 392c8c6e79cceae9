"""What the tests stand on: debuggers, inferiors, and observers outside both."""
