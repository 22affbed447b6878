// Why this exists: starts and ends the script that watches over the clips.
using Microsoft.AspNetCore.Components;
using Microsoft.JSInterop;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>The area in which clips play.</summary>
public sealed partial class ClipStage : IAsyncDisposable
{
    private ElementReference _element;
    private IJSObjectReference? _module;
    private DotNetObjectReference<ClipStage>? _self;
    private string _mode = "hover";

    [Inject]
    private IJSRuntime Script { get; set; } = null!;

    [Parameter]
    public RenderFragment? Toolbar { get; set; }

    [Parameter]
    public RenderFragment? ChildContent { get; set; }

    /// <summary>The script changed the mode (shortcut p).</summary>
    [JSInvokable]
    public void PlayMode(string mode)
    {
        _mode = mode;
        StateHasChanged();
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _self?.Dispose();
        try
        {
            if (_module != null)
            {
                await _module.InvokeVoidAsync("detach");
                await _module.DisposeAsync();
            }
        }
        catch (JSDisconnectedException)
        {
            // The page is gone, and its films with it.
        }
    }

    /// <inheritdoc/>
    protected override async Task OnAfterRenderAsync(bool firstRender)
    {
        if (firstRender)
        {
            _self = DotNetObjectReference.Create(this);
            _module = await Script.InvokeAsync<IJSObjectReference>("import", "./js/clips.js");
            await _module.InvokeVoidAsync("attach", _element, _mode, _self);
        }
    }

    private async Task SetAsync(string mode)
    {
        _mode = mode;
        if (_module != null)
        {
            await _module.InvokeVoidAsync("setMode", mode, true);
        }
    }
}
