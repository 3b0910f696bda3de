"""What people and scripts see: live screen, plain lines, JSON lines, tables, errors."""
