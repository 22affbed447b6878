// Why this exists: logs the fault under the id that the person reads.
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Layout;

/// <summary>An exception in a page takes that page's content away, not the application.</summary>
public sealed partial class Oops
{
    private readonly string _id = Guid.NewGuid().ToString("N")[..8];

    [Inject]
    private ILogger<Oops> Logger { get; set; } = null!;

    /// <summary>The exception.</summary>
    [Parameter, EditorRequired]
    public Exception Error { get; set; } = null!;

    /// <summary>Shows the page again.</summary>
    [Parameter]
    public EventCallback Recover { get; set; }

    /// <inheritdoc/>
    protected override void OnInitialized() => Logger.LogError(Error, "A page failed ({Id})", _id);
}
