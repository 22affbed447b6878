// Why this exists: a person is led to the sign-in and reads a page; a script reads a status and one sentence.
namespace CoCLR.Dashboard.Formatting;

/// <summary>Tells requests of people from those of scripts.</summary>
internal static class PageRequests
{
    private static readonly string[] NotPages = ["/api/v1", "/hubs", "/_blazor", "/openapi", "/healthz"];

    /// <summary>Whether a person's browser asks for a page, and not a script for data.</summary>
    public static bool IsPage(HttpContext context) => HttpMethods.IsGet(context.Request.Method)
        && !NotPages.Any(p => context.Request.Path.StartsWithSegments(p, StringComparison.OrdinalIgnoreCase));
}
