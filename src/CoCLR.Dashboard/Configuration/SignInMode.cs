// Why this exists: pages and sign-in ask for the way that is in force, which options and machine decide together.
namespace CoCLR.Dashboard.Configuration;

/// <summary>The way of signing in that is in force.</summary>
/// <param name="Mode">The way.</param>
public sealed record SignInMode(AuthenticationMode Mode);
