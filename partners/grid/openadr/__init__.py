"""OpenADR 3.1: the site as a VEN, which takes events of a VTN and sends it reports."""
