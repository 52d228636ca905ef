"""What every part that stores in PostgreSQL needs: connections, errors in words, commits of known outcome, leases."""
