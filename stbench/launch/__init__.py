"""Many runs: words become `arms`, arms `cells`, each cell a process (`execution`); and what runs say together."""
