"""How the service is: what it tells when it is asked, and what it does about it by itself."""
