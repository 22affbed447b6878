// Why this exists: theme, shortcuts and banners of the frame.
using CoCLR.Dashboard.Components.Dialogs;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;
using Microsoft.AspNetCore.Components.Routing;
using Microsoft.AspNetCore.Components.Web;
using Microsoft.Extensions.Options;
using Microsoft.JSInterop;
using MudBlazor;

namespace CoCLR.Dashboard.Components.Layout;

/// <summary>The frame.</summary>
public sealed partial class MainLayout : IAsyncDisposable
{
    private bool _dark;
    private bool _menu;
    private string _theme = "system";
    private ErrorBoundary? _boundary;
    private IJSObjectReference? _script;
    private DotNetObjectReference<MainLayout>? _self;
    private Subscription? _changes;
    private StoreHealth? _shown;
    private bool _helpOpen;
    private IDialogReference? _help;

    [Inject]
    private IJSRuntime Script { get; set; } = null!;

    [Inject]
    private IDialogService Dialogs { get; set; } = null!;

    [Inject]
    private NavigationManager Navigation { get; set; } = null!;

    [Inject]
    private RunStore Store { get; set; } = null!;

    [Inject]
    private LiveFeed Feed { get; set; } = null!;

    [Inject]
    private IOptions<DashboardOptions> Settings { get; set; } = null!;

    [CascadingParameter(Name = "Theme")]
    private string Theme { get; set; } = "system";

    [CascadingParameter(Name = "InitiallyDark")]
    private bool InitiallyDark { get; set; }

    private string SkipTo => Navigation.ToBaseRelativePath(Navigation.Uri).Split('#')[0] + "#content";

    private bool OnExperiments => Navigation.ToBaseRelativePath(Navigation.Uri).StartsWith("experiments", StringComparison.Ordinal);

    private string ThemeIcon =>
        _theme switch
        {
            "light" => Icons.Material.Outlined.LightMode,
            "dark" => Icons.Material.Outlined.DarkMode,
            _ => Icons.Material.Outlined.SettingsBrightness
        };

    /// <summary>The browser's own preference changed, or is told for the first time.</summary>
    [JSInvokable]
    public Task SystemDark(bool dark)
    {
        if (_theme == "system" && _dark != dark)
        {
            _dark = dark;
            StateHasChanged();
        }

        return Task.CompletedTask;
    }

    /// <summary>A shortcut was pressed outside of a field.</summary>
    [JSInvokable]
    public Task Shortcut(string name)
    {
        switch (name)
        {
            case "help":
                return OpenHelp();
            case "escape":
                _help?.Close();
                break;
            case "search":
                return OpenSearch();
            case "theme":
                return SetThemeAsync(_dark ? "light" : "dark");
            case { } page when page.StartsWith("go:", StringComparison.Ordinal):
                Navigation.NavigateTo(page[3..]);
                break;
        }

        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        Navigation.LocationChanged -= OnLocationChanged;
        _changes?.Dispose();
        _self?.Dispose();
        if (_script != null)
        {
            try
            {
                await _script.DisposeAsync();
            }
            catch (JSDisconnectedException)
            {
                // The page is gone, and its scripts with it.
            }
        }
    }

    /// <inheritdoc/>
    protected override void OnInitialized()
    {
        (_theme, _dark) = (Theme, InitiallyDark);
        Navigation.LocationChanged += OnLocationChanged;
    }

    /// <inheritdoc/>
    protected override async Task OnAfterRenderAsync(bool firstRender)
    {
        if (!firstRender)
        {
            return;
        }

        _shown = Store.Health;
        _changes = Feed.Listen(LiveFeed.All, TimeSpan.FromSeconds(1), () => InvokeAsync(() =>
        {
            if (_shown != Store.Health)
            {
                _shown = Store.Health;
                StateHasChanged();
            }
        }));
        _self = DotNetObjectReference.Create(this);
        _script = await Script.InvokeAsync<IJSObjectReference>("import", "./js/app.js");
        await _script.InvokeVoidAsync("attach", _self, _theme);
    }

    private void OnLocationChanged(object? sender, LocationChangedEventArgs e)
    {
        _menu = false;
        _boundary?.Recover();
        _ = InvokeAsync(StateHasChanged);
    }

    private async Task SetThemeAsync(string theme)
    {
        _theme = theme;
        if (_script != null)
        {
            _dark = await _script.InvokeAsync<bool>("setTheme", theme);
            StateHasChanged();
        }
    }

    private async Task OpenHelp()
    {
        if (_helpOpen)
        {
            return;
        }

        _helpOpen = true;
        _help = await Dialogs.ShowAsync<HelpDialog>("Keyboard shortcuts");
        // The dialog's task: it ends when the dialog is closed.
        await _help.Result;
        _help = null;
        _helpOpen = false;
    }

    private Task<IDialogReference> OpenSearch() =>
        Dialogs.ShowAsync<GoToDialog>("Go to",
        new DialogOptions
        {
            NoHeader = true, Position = DialogPosition.TopCenter, FullWidth = true, MaxWidth = MaxWidth.Small,
            CloseOnEscapeKey = true
        });
}
