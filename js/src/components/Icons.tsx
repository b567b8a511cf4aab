import type { ComponentChildren } from "preact";

function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="1em" height="1em" aria-hidden="true">
      {children}
    </svg>
  );
}

export const PencilIcon = () => (
  <Icon>
    <path d="M3 13l.6-2.9L10.7 3a1.2 1.2 0 0 1 1.7 0l.6.6a1.2 1.2 0 0 1 0 1.7l-7.1 7.1z" />
    <path d="M9.5 4.2l2.3 2.3" />
  </Icon>
);

export const RetryIcon = () => (
  <Icon>
    <path d="M13 8a5 5 0 1 1-1.6-3.7" />
    <path d="M13.2 1.8v3h-3" />
  </Icon>
);

export const StopIcon = () => (
  <Icon>
    <rect x="4" y="4" width="8" height="8" rx="1.5" />
  </Icon>
);

export const AlertIcon = () => (
  <Icon>
    <circle cx="8" cy="8" r="6" />
    <path d="M8 4.8v3.8M8 11v.2" />
  </Icon>
);

export const BrokenPictureIcon = () => (
  <Icon>
    <path d="M9.8 2.5h2.7a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H8.4" />
    <path d="M5.2 13.5H3.5a1 1 0 0 1-1-1v-9a1 1 0 0 1 1-1h3.3" />
    <path d="M6.8 2.5L8.6 6 6 8.4l2 2.4-1.4 2.7" />
    <path d="M10 11l1.5-1.8 2 2.2" />
  </Icon>
);

export const AskIcon = () => (
  <Icon>
    <path d="M12.5 3.5v4a2 2 0 0 1-2 2h-7" />
    <path d="M6 6.5l-3 3 3 3" />
  </Icon>
);

export const StoreIcon = () => (
  <Icon>
    <ellipse cx="8" cy="4" rx="4.5" ry="1.8" />
    <path d="M3.5 4v8c0 1 2 1.8 4.5 1.8s4.5-.8 4.5-1.8V4" />
    <path d="M3.5 8c0 1 2 1.8 4.5 1.8s4.5-.8 4.5-1.8" />
  </Icon>
);

export const CheckIcon = () => (
  <Icon>
    <path d="M3.5 8.5l3 3 6-7" />
  </Icon>
);

export const CrossIcon = () => (
  <Icon>
    <path d="M4 4l8 8M12 4l-8 8" />
  </Icon>
);

export const FlagIcon = () => (
  <Icon>
    <path d="M4 14V2.5h7.5L10 5.5l1.5 3H4" />
  </Icon>
);

export const SearchIcon = () => (
  <Icon>
    <circle cx="7" cy="7" r="4" />
    <path d="M10 10l3.5 3.5" />
  </Icon>
);

export const FilterIcon = () => (
  <Icon>
    <path d="M2.5 4h11M4.5 8h7M6.5 12h3" />
  </Icon>
);

export const GridIcon = () => (
  <Icon>
    <rect x="2.5" y="2.5" width="4.5" height="4.5" rx="1" />
    <rect x="9" y="2.5" width="4.5" height="4.5" rx="1" />
    <rect x="2.5" y="9" width="4.5" height="4.5" rx="1" />
    <rect x="9" y="9" width="4.5" height="4.5" rx="1" />
  </Icon>
);

export const TableIcon = () => (
  <Icon>
    <rect x="2.5" y="3" width="11" height="10" rx="1" />
    <path d="M2.5 6.3h11M2.5 9.7h11M6.5 6.3V13" />
  </Icon>
);

export const ColumnsIcon = () => (
  <Icon>
    <rect x="2.5" y="3" width="11" height="10" rx="1" />
    <path d="M6.2 3v10M9.8 3v10" />
  </Icon>
);

export const UpIcon = () => (
  <Icon>
    <path d="M8 13V3M4.5 6.5L8 3l3.5 3.5" />
  </Icon>
);

export const DownIcon = () => (
  <Icon>
    <path d="M8 3v10M4.5 9.5L8 13l3.5-3.5" />
  </Icon>
);

export const ChevronIcon = () => (
  <Icon>
    <path d="M6 4l4 4-4 4" />
  </Icon>
);

export const MapIcon = () => (
  <Icon>
    <path d="M2.5 2.500v11h11" />
    <path d="M6 10.500v.01M7.500 5.500v.01M9.500 8v.01M12 4v.01M12 10v.01" stroke-width="2.4" />
  </Icon>
);

export const LassoIcon = () => (
  <Icon>
    <ellipse cx="8.500" cy="6.500" rx="5" ry="3.800" stroke-dasharray="2.4 1.9" />
    <path d="M5.500 9.700c-1.500.8-1.800 2.600-.2 3.800" />
  </Icon>
);

export const MoveIcon = () => (
  <Icon>
    <path d="M8 2v12M2 8h12M6.200 3.800L8 2l1.800 1.800M6.200 12.200L8 14l1.800-1.800" />
    <path d="M3.800 6.200L2 8l1.800 1.800M12.200 6.200L14 8l-1.800 1.800" />
  </Icon>
);

export const UniqueIcon = () => (
  <Icon>
    <rect x="2.5" y="5" width="8.5" height="8.5" rx="1" />
    <path d="M5.5 2.5h7a1 1 0 0 1 1 1v7" />
  </Icon>
);

export const UndoIcon = () => (
  <Icon>
    <path d="M5.5 3L2.5 6l3 3" />
    <path d="M2.8 6H9.500a3.5 3.5 0 0 1 0 7H6.5" />
  </Icon>
);

export const RedoIcon = () => (
  <Icon>
    <path d="M10.5 3l3 3-3 3" />
    <path d="M13.2 6H6.500a3.5 3.5 0 0 0 0 7h3" />
  </Icon>
);

export const PreviousIcon = () => (
  <Icon>
    <path d="M10 3L5 8l5 5" />
  </Icon>
);

export const NextIcon = () => (
  <Icon>
    <path d="M6 3l5 5-5 5" />
  </Icon>
);

export const ZoomIcon = () => (
  <Icon>
    <path d="M9.5 2.500h4v4M6.5 13.500h-4v-4M13.5 2.500L9.5 6.500M2.5 13.500l4-4" />
  </Icon>
);

export const PlusIcon = () => (
  <Icon>
    <path d="M8 3v10M3 8h10" />
  </Icon>
);

export const MinusIcon = () => (
  <Icon>
    <path d="M3 8h10" />
  </Icon>
);

export const CodeIcon = () => (
  <Icon>
    <path d="M5.5 4L2 8l3.5 4M10.5 4L14 8l-3.5 4" />
  </Icon>
);

export const SendIcon = () => (
  <Icon>
    <path d="M8 13V3.200M3.8 7.200L8 3l4.2 4.2" />
  </Icon>
);
