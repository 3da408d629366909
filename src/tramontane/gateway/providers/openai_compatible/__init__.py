"""Other servers as a provider: whatever speaks OpenAI's API, such as vLLM, llama.cpp, Azure, la Plateforme, or us."""
