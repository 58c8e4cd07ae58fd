pipeline = {
  name = "Example Pipeline",
  stages = {
    {
      name = "checkout",
      script = function()
        log.info("Cloning repository...")
        git.clone({ url = "https://github.com/user/repo.git", branch = "main" })
      end
    },
    {
      name = "test",
      script = function()
        log.info("Running tests...")
        process.run({ command = "pytest", args = {"tests/"} })
      end
    }
  }
}
