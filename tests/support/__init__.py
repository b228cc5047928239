"""What tests share: a scriptable service on a real socket, and one way to drive both faces of a client."""
