"""The files of the pages: those of the API's description, and the web app as built from web/ at the root."""
