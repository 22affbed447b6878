// Why this exists: three roles and the policies made of them, named once.
namespace CoCLR.Dashboard.Configuration;

/// <summary>Roles.</summary>
public static class Roles
{
    /// <summary>Looks.</summary>
    public const string Viewer = "viewer";

    /// <summary>Also starts, stops and deletes experiments.</summary>
    public const string Editor = "editor";

    /// <summary>Also manages tokens.</summary>
    public const string Admin = "admin";

    /// <summary>All of them, from the least.</summary>
    public static readonly string[] All = [Viewer, Editor, Admin];

    /// <summary>Roles that include one.</summary>
    /// <param name="role">The least that is needed.</param>
    public static string[] AtLeast(string role) => All[Array.IndexOf(All, role)..];
}
