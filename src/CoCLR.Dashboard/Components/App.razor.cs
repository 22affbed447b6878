// Why this exists: theme and render mode are known before the first byte: from cookies and from the page's own attribute.
using Microsoft.AspNetCore.Components;
using Microsoft.AspNetCore.Components.Routing;
using Microsoft.AspNetCore.Components.Web;

namespace CoCLR.Dashboard.Components;

/// <summary>The document.</summary>
public partial class App
{
    [CascadingParameter]
    private HttpContext Context { get; set; } = null!;

    private IComponentRenderMode? Mode => Context.AcceptsInteractiveRouting() ? RenderMode.InteractiveServer : null;

    private string Theme =>
        Context.Request.Cookies["coclr-theme"] is "light" or "dark" ? Context.Request.Cookies["coclr-theme"]! : "system";

    private bool Dark => Theme == "dark" || (Theme == "system" && Context.Request.Cookies["coclr-dark"] == "1");
}
